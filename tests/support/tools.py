"""The control plane's programs for tests, built once from the Go module proxy and cached outside the tree.

    python -m tests.support.tools build [--node]    builds what is missing (minutes when cold, nothing when warm)
    python -m tests.support.tools path kubectl

A binary of that name in $KUBEBUILDER_ASSETS is taken as it is.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.go_build import GoBuilder, GoModule
from tests.support.go_toolchain import go_executable

KUBERNETES_VERSION = "v1.36.3"
PROMETHEUS_RELEASE, PROMETHEUS_VERSION = "v3.16.0", "v0.316.0"
"""And how the Go module of that release is called."""


def _kubernetes(name: str, *commands: str) -> GoModule:
    """Commands of Kubernetes, kept in a folder of their own."""
    return GoModule(
        name=name,
        module="k8s.io/kubernetes",
        version=KUBERNETES_VERSION,
        commands={command: f"k8s.io/kubernetes/cmd/{command}" for command in commands},
        ldflags=(
            f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
            f" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
            f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}"
        ),
        staging=True,
    )


MODULES = (
    _kubernetes("kubernetes", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"),
    GoModule(
        name="etcd",
        module="go.etcd.io/etcd/server/v3",
        version="v3.6.8",
        commands={"etcd": "go.etcd.io/etcd/server/v3"},
    ),
    GoModule(
        name="kwok",
        module="sigs.k8s.io/kwok",
        version="v0.8.0",
        commands={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        folders=("kustomize/stage",),
    ),
    GoModule(
        name="helm",
        module="helm.sh/helm/v4",
        version="v4.3.1",
        commands={"helm": "helm.sh/helm/v4/cmd/helm"},
        ldflags="-X helm.sh/helm/v4/internal/version.version=v4.3.1",
    ),
    GoModule(
        name="prometheus",
        module="github.com/prometheus/prometheus",
        version=PROMETHEUS_VERSION,
        commands={"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
        tags="remove_all_sd",  # without the clients of two dozen clouds
    ),
    GoModule(
        name="prometheus-operator",
        module="github.com/prometheus-operator/prometheus-operator",
        version="v0.85.0",
        folders=("example/prometheus-operator-crd",),
    ),
)
NODE_MODULES = (
    _kubernetes("kubernetes-node", "kubelet", "kube-proxy"),
    GoModule(
        name="coredns",
        module="github.com/coredns/coredns",
        version="v1.15.0",
        commands={"coredns": "github.com/coredns/coredns"},
    ),
    GoModule(
        name="prometheus-server",
        module="github.com/prometheus/prometheus",
        version=PROMETHEUS_VERSION,
        commands={"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
        tags="remove_all_sd,enable_kubernetes_sd",  # without a web page, which the module lacks
    ),
)
"""What a node that runs pods needs beside them, and who watches them: of `make test-e2e` alone."""
RELEASE_MODULES = (
    GoModule(
        name="syft",
        module="github.com/anchore/syft",
        version="v1.57.1",
        commands={"syft": "github.com/anchore/syft/cmd/syft"},
        ldflags="-X main.version=1.57.1",
    ),
)
"""Of `make sbom` alone."""
CONTROL_PLANE = ("kubernetes", "etcd", "kwok")
"""Modules that a control plane is made of."""
CONTROL_PLANE_PROGRAMS = tuple(
    command for module in MODULES if module.name in CONTROL_PLANE for command in module.commands
)
BUILD_SECONDS = "build-seconds"
"""A file beside the programs of a module."""


def cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stepstream" / "tools"


def binary(name: str) -> Path:
    """Path of a program by name, from $KUBEBUILDER_ASSETS or the cache; builds its module on first use."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and os.access(Path(assets) / name, os.X_OK):
        return Path(assets) / name
    module = next(module for module in (*MODULES, *NODE_MODULES, *RELEASE_MODULES) if name in module.commands)
    return module_directory(module) / name


def kwok_stages() -> Path:
    """Folder of kwok's stage files: the state machine of a pretended pod or node."""
    return module_directory(_module("kwok")) / "stage"


def prometheus_operator_definition(plural: str) -> Path:
    """File of the CustomResourceDefinition of one of the Prometheus operator's kinds."""
    folder = module_directory(_module("prometheus-operator")) / "prometheus-operator-crd"
    return folder / f"monitoring.coreos.com_{plural}.yaml"


def _module(name: str) -> GoModule:
    return next(module for module in MODULES if module.name == name)


def module_directory(module: GoModule) -> Path:
    """The module's built folder. Safe to call from any number of processes: one builds, the others wait."""
    directory = cache_root() / module.directory_name
    if not directory.exists():
        with _locked(cache_root() / f"{module.directory_name}.lock"):
            if not directory.exists():
                _build(module, directory)
    return directory


def seconds_to_build(*names: str) -> float | None:
    """What it took to build these modules, when that was done; None where one of them was not built by `_build`."""
    notes = [cache_root() / _module(name).directory_name / BUILD_SECONDS for name in names]
    return sum(float(note.read_text()) for note in notes) if all(note.exists() for note in notes) else None


def _build(module: GoModule, directory: Path) -> None:
    print(f"building {module.directory_name} (once; kept in {directory})", file=sys.stderr, flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{module.name}-") as scratch:
        staged = Path(scratch, "built")
        for folder in (staged, source := Path(scratch, "source")):
            folder.mkdir()
        with _locked(cache_root() / "go.lock"):
            go = go_executable(cache_root())
        GoBuilder(go=go, scratch=source).build(module, staged)
        seconds = time.monotonic() - started
        (staged / BUILD_SECONDS).write_text(f"{seconds:.1f}\n")
        staged.rename(directory)
    print(f"built {module.directory_name} in {seconds:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.support.tools", description="Programs the control-plane tests need.")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build what is missing")
    building.add_argument("--node", action="store_true", help="and the programs of a node that runs pods")
    commands.add_parser("clean", help="remove every built program")
    commands.add_parser("path", help="print a program's path").add_argument("name")
    arguments = parser.parse_args()
    if arguments.command == "build":
        for module in (*MODULES, *(NODE_MODULES if arguments.node else ())):
            print(module_directory(module))
    elif arguments.command == "clean":
        shutil.rmtree(cache_root(), ignore_errors=True)
    else:
        print(binary(arguments.name))


if __name__ == "__main__":
    main()
