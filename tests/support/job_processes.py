"""One job as real processes on this machine: a learner and its simulators, started, killed and awaited by a test."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from stepstream_trainer.config import SimulatorsConfig, TrainerConfig, contract, dump, parse
from stepstream_trainer.learner.metric_catalogue import JOB_STEPS
from tests.support.daemons import free_ports
from tests.support.run_files import newest_checkpoint

PATIENCE_SECONDS = 240.0
"""Longer than any of these jobs runs, also on a busy machine."""

ATTEMPTS = 5


class TooLateError(AssertionError):
    """The learner has come to its job's good end before what was waited for."""


_NO_ANSWER = (OSError, HTTPException, ValueError)
"""Of a process that does not listen yet, or that ends while it answers."""


def config_of(job: Mapping[str, Any]) -> TrainerConfig:
    return parse(TrainerConfig, job, path="")


class JobProcesses:
    """Starts the processes of one job. Everything they write lies under `directory`."""

    def __init__(
        self,
        config: TrainerConfig,
        directory: Path,
        sockets: Path,
        certificates: Mapping[str, Path] | None = None,
        *,
        threads: int = 1,
    ) -> None:
        """With `certificates`, a directory for each role, streams take TCP and TLS as in a cluster.

        By default each process has one thread for numbers: tests share their processors with each other, and threads
        that wait for one another at barriers would only wait.
        """
        self.config = config
        self.directory = directory
        self._sockets = sockets
        self._certificates = certificates or {}
        self._threads = {"OMP_NUM_THREADS": str(threads)}
        self.port = free_ports(1)[0] if certificates else 0
        self._stream_address = f"127.0.0.1:{self.port}" if certificates else f"unix:{sockets}/learner"
        self._config_path = directory / "job.json"
        directory.mkdir(parents=True, exist_ok=True)
        self._config_path.write_text(dump(config))
        self._attempt = 0
        self.learner: subprocess.Popen[bytes] | None = None
        self.simulators: dict[str, subprocess.Popen[bytes]] = {}

    def start_learner(self) -> subprocess.Popen[bytes]:
        self._attempt += 1
        self.learner = self._start(
            f"learner-{self._attempt}",
            contract.LEARNER_COMMAND,
            {
                contract.RUN_DIR: str(self.directory),
                contract.ATTEMPT: str(self._attempt),
                contract.LISTEN: self._stream_address,
                contract.HTTP: f"unix:{self._sockets}/http",
                contract.FINAL_STATUS: str(self.directory / "final-status.json"),
                **self._tls("learner"),
            },
        )
        return self.learner

    def start_simulators(self, *names: str) -> None:
        for name in names:
            self.simulators[name] = self._start(
                name,
                contract.SIMULATOR_COMMAND,
                {
                    contract.SIMULATOR: name,
                    contract.LEARNER: self._stream_address,
                    contract.HTTP: f"unix:{self._sockets}/{name}",
                    **self._tls("simulator"),
                },
            )

    def restart_simulator(self, name: str) -> None:
        """SIGKILL, and at once a new process of the same name."""
        self.kill(self.simulators[name])
        self.start_simulators(name)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def finish(self) -> str:
        """Wait for the learner's good end; gives the digest of its parameters."""
        assert self.learner is not None
        code = self.learner.wait(PATIENCE_SECONDS)
        assert code == contract.EXIT_DONE, self.log()
        return self.digest()

    def digest(self) -> str:
        """Of the parameters the last learner ended with, from its log."""
        found = re.findall(r"finished .*parameters=([0-9a-f]{64})", self.log())
        assert found, self.log()
        return str(found[-1])

    def log(self) -> str:
        """What the newest learner logged."""
        return (self.directory / f"learner-{self._attempt}.log").read_text()

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            ended = self.learner.poll() if self.learner else None  # read first: it may end while `holds` looks
            if holds():
                return
            if ended == contract.EXIT_DONE:
                raise TooLateError(f"the job was done before: {what}\n{self.log()}")
            assert ended is None, f"the learner ended before: {what}\n{self.log()}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.log()}"
            time.sleep(0.02)

    def reach(self, steps: int) -> None:
        """Wait until the learner has made `steps`, by its /metrics: /status tells of them once a second."""
        self.wait_until(lambda: self._steps() >= steps, f"{steps} steps")

    def status(self, simulator: str | None = None) -> dict[str, Any]:
        """The learner's /status, or a simulator's; empty while it does not answer."""
        try:
            answer: dict[str, Any] = json.loads(self._ask("/status", simulator or "http"))
            return answer
        except _NO_ANSWER:
            return {}

    def metrics(self) -> dict[str, float]:
        """The learner's, by name and labels as they are written; empty while it does not answer."""
        try:
            lines = self._ask("/metrics", "http").splitlines()
        except _NO_ANSWER:
            return {}
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}

    def final_status(self) -> dict[str, Any]:
        """What the learner left as its last word."""
        answer: dict[str, Any] = json.loads((self.directory / "final-status.json").read_text())
        return answer

    def newest_checkpoint(self) -> int:
        return newest_checkpoint(self.directory)

    def close(self) -> None:
        for process in [self.learner, *self.simulators.values()]:
            if process is not None and process.poll() is None:
                self.kill(process)

    def _steps(self) -> float:
        return self.metrics().get(JOB_STEPS.name, 0)

    def _ask(self, path: str, process: str) -> str:
        connection = HTTPConnection("localhost", timeout=PATIENCE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(f"{self._sockets}/{process}")
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def _tls(self, role: str) -> dict[str, str]:
        return {contract.TLS_DIR: str(self._certificates[role])} if self._certificates else {}

    def _start(self, name: str, command: tuple[str, ...], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command[1:]],
                env=os.environ | self._threads | variables | {contract.CONFIG: str(self._config_path)},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )


@contextmanager
def job_processes(
    config: TrainerConfig,
    directory: Path,
    certificates: Mapping[str, Path] | None = None,
    *,
    threads: int = 1,
    simulators: int = 1,
) -> Iterator[JobProcesses]:
    """Of a job with so many simulators: a learner has patience with the slots of those that do not come.

    Socket paths are limited to 107 bytes, so the sockets lie in a short directory of their own.
    """
    config = replace(config, simulators=SimulatorsConfig(replicas=simulators))
    with tempfile.TemporaryDirectory(prefix="st-") as sockets:
        job = JobProcesses(config, directory, Path(sockets), certificates, threads=threads)
        try:
            yield job
        finally:
            job.close()


def disturbed(
    config: TrainerConfig,
    directory: Path,
    disturb: Callable[[JobProcesses], None],
    *names: str,
    certificates: Mapping[str, Path] | None = None,
) -> JobProcesses:
    """A job with simulators of these names that was disturbed in its midst, after its good end.

    A machine may stand still for as long as such a job takes: one that was done before is no job that was disturbed.
    """
    for number in range(ATTEMPTS):
        with job_processes(config, directory / str(number), certificates, simulators=len(names)) as job:
            job.start_learner()
            job.start_simulators(*names)
            try:
                disturb(job)
            except TooLateError:
                continue
            job.finish()
            return job
    raise AssertionError(f"{ATTEMPTS} jobs were done before they could be disturbed")
