#!/bin/sh
# install.sh [--environment DIR] ARGUMENTS: pip install, as every stage of the Dockerfile does it.
#
# Takes wheels from /wheels, a configuration from /run/pip.conf and certificate authorities from /run/ca.crt, where they
# are. Byte code is checked against nothing when it is loaded, so that it is the same whenever it is compiled.
set -eu
environment=/opt/stepstream
if [ "$1" = --environment ]; then environment=$2; shift 2; fi
if [ -s /run/pip.conf ]; then export PIP_CONFIG_FILE=/run/pip.conf; fi
if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi
if [ -e "$environment/requirements/constraints.txt" ]; then export PIP_CONSTRAINT=$environment/requirements/constraints.txt; fi
/pip/bin/python -m pip --python "$environment/bin/python" --disable-pip-version-check --no-cache-dir \
  install --quiet --no-compile --find-links /wheels "$@"
for folder in "$environment/lib" /code; do
  if [ -d "$folder" ]; then
    "$environment/bin/python" -m compileall -q -j 2 --invalidation-mode unchecked-hash "$folder" >/dev/null || true
  fi
done
