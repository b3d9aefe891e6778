"""kubectl on a cluster of the tests, as a user has it on a screen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemons import eventually
from tests.support.tools import binary


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubectl:
    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str, given: Mapping[str, Any] | None = None) -> str:
        """Both outputs together; `given` is what comes from the standard input, shown as job.yaml."""
        text = json.dumps(given) if given is not None else None
        done = subprocess.run(self.command(*arguments), input=text, capture_output=True, text=True, timeout=120)
        lines = (done.stdout + done.stderr).replace("STDIN", "job.yaml").splitlines()
        return "\n".join(line.rstrip() for line in lines)

    def command(self, *arguments: str) -> list[str]:
        return [str(binary("kubectl")), f"--kubeconfig={self.kubeconfig}", "-n", self.namespace, *arguments]

    def columns(self, *arguments: str) -> dict[str, str]:
        """Header -> cell of the one row that `kubectl get ARGUMENTS` shows. Empty cells are blank, not left out."""
        header, row = self("get", *arguments).splitlines()
        starts = [at for at, letter in enumerate(header) if letter != " " and (at == 0 or header[at - 1] == " ")]
        ends = [*starts[1:], None]
        return {header[at:end].strip(): row[at:end].strip() for at, end in zip(starts, ends, strict=True)}

    def comes_to_show(self, *arguments: str, cells: Mapping[str, str], timeout_seconds: float = 60) -> None:
        """Waits until the row has these cells; fails with the row seen last, and what `kubectl describe` says."""
        seen: dict[str, str] = {}

        def shown() -> bool:
            seen.update(self.columns(*arguments))
            return cells.items() <= seen.items()

        try:
            eventually(shown, timeout_seconds=timeout_seconds, what=f"{dict(cells)}", interval_seconds=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; last seen {seen}\n{self('describe', *arguments)}") from error
