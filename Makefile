# Every target does its own set-up: a Python of 3.11 or newer, make and a C compiler are all it needs.
#   VENV=path     where the virtual environment lives (default .venv)
#   PYTHON=path   the interpreter it is made from (default: the first suitable one found)
#   JOB=file      the job that `make run` trains
#   ARGS="..."    further arguments for run, test or bench

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV ?= .venv
JOB ?= examples/pong-ppo.yaml
ARGS ?=

BIN := $(abspath $(VENV))/bin
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
KIND_CONFIG := $(CURDIR)/build/kind.conf
READY := $(VENV)/.stepstream-ready
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup run test test-e2e tools images sbom cluster-up cluster-down kind-up kind-down lint types verify protos bench docs clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## Make the virtual environment and install Stepstream into it

run: $(READY)  ## Train JOB on this machine; started again, it goes on where it was
	@$(BIN)/stepstream run $(JOB) $(ARGS)

test: $(READY)  ## Run the tests, as many at a time as there are cores (ARGS="-n 0 -k word" for a few)
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder $(ARGS)

tools: $(READY)  ## Build the programs that the tests need (once; make test does so by itself)
	@$(BIN)/python -m tests.support.tools build

images: $(READY)  ## Build the images with docker, podman or buildah (ARGS="--engine docker simulator" for one)
	@$(BIN)/python -m charts.images.build $(ARGS)

sbom: $(READY)  ## List what the images hold, with licences, in dist/sbom (ARGS="simulator" for one)
	@$(BIN)/python -m charts.images.sbom --syft "$$($(BIN)/python -m tests.support.tools path syft)" $(ARGS)

cluster-up: $(READY)  ## Start a one-node Kubernetes on this machine (Linux, root; ARGS=--install for Debian's packages)
	@$(BIN)/python -m tests.support.one_node up $(ARGS)

cluster-down: $(READY)  ## End it (ARGS=--purge: and forget its images)
	@$(BIN)/python -m tests.support.one_node down $(ARGS)

kind-up: $(READY)  ## The same on kind with docker: build the images, start a cluster that has them
	@$(BIN)/python -m charts.images.build --engine docker >&2
	@kind create cluster --name stepstream --kubeconfig $(KIND_CONFIG) >&2
	@kind load docker-image --name stepstream $(patsubst %,stepstream/%:$(VERSION),operator simulator learner) >&2
	@echo $(KIND_CONFIG)

kind-down:  ## End it
	@kind delete cluster --name stepstream --kubeconfig $(KIND_CONFIG)
	@rm -f $(KIND_CONFIG)

test-e2e: $(READY)  ## Try everything on a real cluster: the one of KUBECONFIG, or one of our own
	@$(BIN)/python -m pytest -n 0 tests/cluster $(ARGS)

lint: $(READY)  ## Check style (ruff) and import contracts (import-linter)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/lint-imports --no-cache

types: $(READY)  ## Check types (mypy --strict)
	@$(BIN)/mypy

verify: $(READY)  ## Regenerate what is generated; fail where the tree differs
	@$(BIN)/python .ci/generated.py --check

protos: $(READY)  ## Regenerate the wire's Python code
	@$(BIN)/python .ci/generated.py protos

docs: $(READY)  ## Regenerate the CRD and the reference pages
	@$(BIN)/python .ci/generated.py crd trainingjob metrics dashboards chart

bench: $(READY)  ## Measure against the bound and the peers (ARGS=--quick for a short look)
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove caches and build output; keeps runs/ and the virtual environment
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamp is newer than what it was made from, so a warm target starts at once.
$(READY): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Stepstream into $(VENV); the first time fetches about 5 GB, most of it torch." >&2
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/bin/python:
	@for candidate in $(PYTHON) $(CANDIDATES); do \
	  if "$$candidate" -c '$(SUITABLE)' 2>/dev/null; then "$$candidate" -m venv $(VENV) && exit; fi; \
	done; \
	echo "No Python of 3.11 or newer with venv was found. Install one (Debian: apt install python3-venv)," \
	  "or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
