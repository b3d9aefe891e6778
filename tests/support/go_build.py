"""Builds Go commands from the module proxy, each set in a wrapper module of its own.

`go install command@version` refuses modules whose go.mod has `replace` lines; as a dependency of a wrapper module
those lines are ignored. Kubernetes needs more: its go.mod replaces the staging modules by folders that its module
zip lacks, so the wrapper names their releases instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

STAGING_LINE = re.compile(r"^\t(k8s\.io/\S+) => \./staging", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class GoModule:
    """One module release and what is taken from it."""

    name: str
    module: str
    version: str
    commands: dict[str, str] = field(default_factory=dict)  # binary -> package
    tags: str = ""
    ldflags: str = ""
    staging: bool = False  # go.mod replaces k8s.io/* by folders
    folders: tuple[str, ...] = ()  # data folders of the module that are kept beside the binaries

    @property
    def directory_name(self) -> str:
        return f"{self.name}-{self.version}"


class BuildFailed(RuntimeError):
    """A Go command ended with an error; holds its last words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GoBuilder:
    """Builds modules with one `go` inside one scratch folder."""

    go: Path
    scratch: Path

    def build(self, module: GoModule, destination: Path) -> None:
        """Puts the module's binaries and folders into `destination`, which must exist."""
        self._write_wrapper(module)
        if module.commands:
            packages = (f"{package}@{module.version}" for package in module.commands.values())
            self._run("get", "-tags", module.tags, *packages)
        for binary, package in module.commands.items():
            flags = ["-trimpath", "-tags", module.tags, "-ldflags", f"-s -w {module.ldflags}".strip()]
            self._run("build", *flags, "-o", str(destination / binary), package)
        for folder in module.folders:
            _copy_writable(Path(self._downloaded(module)["Dir"], folder), destination / Path(folder).name)

    def _write_wrapper(self, module: GoModule) -> None:
        lines = [f"module wrap/{module.name}", "", "go 1.26.0", ""]
        if module.staging:
            lines += [
                f"replace {path} => {path} v0{module.version.removeprefix('v1')}" for path in self._staged(module)
            ]
        (self.scratch / "go.mod").write_text("\n".join(lines) + "\n")

    def _staged(self, module: GoModule) -> list[str]:
        return STAGING_LINE.findall(Path(self._downloaded(module)["GoMod"]).read_text())

    def _downloaded(self, module: GoModule) -> dict[str, str]:
        """Where the module's parts lie in Go's cache."""
        answer: dict[str, str] = json.loads(self._run("mod", "download", "-json", f"{module.module}@{module.version}"))
        return answer

    def _run(self, *arguments: str) -> str:
        environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
        command = ["nice", "-n", "10", str(self.go), *arguments]
        done = subprocess.run(command, cwd=self.scratch, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildFailed(f"go {' '.join(arguments)}:\n{done.stderr[-3000:]}")
        return done.stdout


def _copy_writable(source: Path, destination: Path) -> None:
    """Copies a folder of the read-only module cache so that it can be removed again."""
    shutil.copytree(source, destination, copy_function=shutil.copyfile)
    for directory, _, _ in os.walk(destination):
        Path(directory).chmod(0o755)
