"""`stepstream run` as a person starts it: a process of its own, with the processes that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stepstream_operator.local.sockets import remove_left_sockets
from stepstream_trainer.config import contract
from tests.support.run_files import history_of, newest_checkpoint

PATIENCE_SECONDS = 240.0
"""Longer than any of these runs takes, also on a busy machine."""

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Networks this small gain nothing from more, and threads that wait for each other lose much on a busy machine."""

CARTPOLE: dict[str, Any] = {
    "environment": {"id": "CartPole-v1", "deterministic": True},
    "algorithm": {"name": "PPO", "parameters": {"horizon": 32, "minibatchSize": 128}},
    "mode": "Sync",
    "totalSteps": 8 * 32 * 4,
    "learners": {"environments": 8, "groups": 1},
    "simulators": {"replicas": 2},
}
LONG = {"totalSteps": 10_000_000}


def write_job(path: Path, **changes: Any) -> Path:
    """A job file named `cart`: CartPole by PPO, a few seconds long, with these fields of its spec changed."""
    manifest = {
        "apiVersion": "stepstream.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "cart"},
        "spec": CARTPOLE | changes,
    }
    path.write_text(yaml.safe_dump(manifest))
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Process:
    pid: int
    command: str
    rank: int


class LocalRun:
    """A runner in `directory`, whose run is in runs/cart there."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.run_directory = directory / "runs" / "cart"
        self._output = directory / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stepstream_operator.cli", "run", *arguments],
                cwd=directory,
                env=os.environ | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def output(self) -> str:
        return self._output.read_text()

    def wait(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait_until(self, holds: Callable[[], bool], what: str, *, while_running: bool = True) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            ended = self.process.poll() is not None  # read first: it may end while `holds` looks
            if holds():
                return
            assert not (while_running and ended), f"it ended before: {what}\n{self.output()}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.output()}"
            time.sleep(0.02)

    def wait_for_steps(self, *, attempt: int = 1, more_than: int = 0) -> None:
        """Until this attempt has recorded more steps than these."""
        self.wait_until(
            lambda: any(line["attempt"] == attempt and line["steps"] > more_than for line in self.history()),
            f"attempt {attempt} to train beyond {more_than} steps",
        )

    def history(self) -> list[dict[str, Any]]:
        return history_of(self.run_directory)

    def newest_checkpoint(self) -> int:
        return newest_checkpoint(self.run_directory)

    def wait_for_checkpoint(self) -> None:
        """A newer one than there is."""
        before = self.newest_checkpoint()
        self.wait_until(lambda: self.newest_checkpoint() > before, f"a checkpoint of more than {before} steps")

    def status(self) -> dict[str, Any]:
        """The job's status, from state.json."""
        path = self.run_directory / "state.json"
        status: dict[str, Any] = json.loads(path.read_text()).get("status", {}) if path.exists() else {}
        return status

    def edit(self, **changes: Any) -> None:
        """As an edit of the job reaches its learners: another file takes the name of their configuration."""
        path = self.run_directory / "config" / "job.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(json.loads(path.read_text()) | changes))
        new.replace(path)

    def sockets(self) -> Path:
        """The directory of its sockets."""
        return Path(json.loads((self.run_directory / "state.json").read_text())["sockets"])

    def pids(self, role: str) -> list[int]:
        """Of the run's living processes of a role, "learner" or "simulator"; learners in the order of their ranks."""
        found = [each for each in self._processes() if f"stepstream_trainer.{role}" in each.command]
        return [each.pid for each in sorted(found, key=lambda each: each.rank)]  # pids begin again at pid_max

    def log(self, process: str) -> str:
        path = self.run_directory / "logs" / f"cart-{process}.log"
        return path.read_text() if path.exists() else ""

    def _processes(self) -> Iterator[_Process]:
        config = f"{contract.CONFIG}={self.run_directory}/config/job.json"
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                environment, command = _words(entry / "environ"), _words(entry / "cmdline")
            except OSError:
                continue
            if config in environment and command:
                ranks = [int(each.partition("=")[2]) for each in environment if each.startswith(f"{contract.RANK}=")]
                yield _Process(pid=int(entry.name), command=" ".join(command), rank=ranks[0] if ranks else 0)


def _words(path: Path) -> list[str]:
    return [word for word in path.read_text(errors="replace").split("\0") if word]


@contextmanager
def local_run(directory: Path, *arguments: str) -> Iterator[LocalRun]:
    """A runner that is killed, with all its processes, if the test leaves it running."""
    run = LocalRun(directory, *arguments)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
            run.wait_until(lambda: not run.pids("learner") + run.pids("simulator"), "its end", while_running=False)
            if (run.run_directory / "state.json").exists():
                remove_left_sockets(str(run.sockets()))
