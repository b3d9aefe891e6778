"""The operator as a process of its own: `python -m stepstream_operator`, ready, with its log and its metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually, free_ports

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
END_SECONDS = 30.0


class OperatorProcess:
    """Starts at once and returns when `until` agrees. `flags` are as in a Deployment, except where it listens."""

    def __init__(
        self,
        flags: Sequence[str],
        *,
        kubeconfig: Path,
        log: Path,
        variables: Mapping[str, str] | None = None,
        until: str = "/readyz",
    ) -> None:
        (port,) = free_ports(1)
        self.url, self._log = f"http://127.0.0.1:{port}", log
        sources = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer"))
        environment = os.environ | {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": sources} | (variables or {})
        command = [sys.executable, "-m", "stepstream_operator", *flags, f"--listen=127.0.0.1:{port}"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, env=environment, stderr=output)
        try:
            what = f"the operator's process says yes to {until}"
            eventually(lambda: self._answers_well(until), timeout_seconds=READY_SECONDS, what=what)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{log.read_text()[-3000:]}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> int:
        """Ends it as a kubelet would; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def wait(self) -> int:
        """Waits until it has ended by itself; returns its exit code."""
        return self._process.wait(END_SECONDS)

    def ask(self, path: str) -> tuple[int, str]:
        """HTTP status and body."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=READY_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def log_lines(self) -> list[dict[str, Any]]:
        """What it has logged so far. Fails where a whole line is not one JSON object."""
        whole = self._log.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def samples(self, name: str) -> dict[str, float]:
        """Labels, as the exposition has them, -> value of the samples of that name."""
        lines = self.ask("/metrics")[1].splitlines()
        found = [line.removeprefix(name).rsplit(" ", 1) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return {labels: float(value) for labels, value in found}

    def _answers_well(self, path: str) -> bool:
        assert self._process.poll() is None, "it ended"
        try:
            return self.ask(path)[0] == 200
        except OSError:
            return False


def token_kubeconfig(cluster: ControlPlane, token: str, file: Path) -> Path:
    """A kubeconfig file for the holder of a service account's token."""
    server = {"server": cluster.server, "certificate-authority": str(cluster.directory / "ca.crt")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": server}],
        "users": [{"name": "bearer", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "bearer"}}],
        "current-context": "tests",
    }
    file.write_text(yaml.safe_dump(content))
    return file
