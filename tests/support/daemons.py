"""Plain child processes on loopback: started with a log file, ended by pid."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

END_SECONDS = 15.0
LESS_COLLECTING = {"GOGC": "400"}
"""For programs in Go: they live for minutes, and memory is cheaper here than the processor that tests share."""

_ports = random.SystemRandom()  # other processes look for ports at the same time


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on at this moment, below those that the kernel gives to whoever asks."""
    free: list[int] = []
    while len(free) < count:
        port = _ports.randint(15_000, 32_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        free += {port}.difference(free)
    return free


def eventually(
    check: Callable[[], object], *, timeout_seconds: float, what: str, interval_seconds: float = 0.05
) -> None:
    """Returns once `check()` is truthy. Raises AssertionError naming `what` after the time limit."""
    deadline = time.monotonic() + timeout_seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {timeout_seconds:.0f} s: {what}"
        time.sleep(interval_seconds)


def lasts(seconds: float) -> None:
    """Returns when a fault has gone on for so long."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= until, timeout_seconds=seconds + 10, what="it is over", interval_seconds=0.5)


class Daemon:
    """One background process; its output goes to `log`. Dies with its parent where `setpriv` exists."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name, self.log, self._command = name, log, command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def start(self) -> None:
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*guard, *self._command],
                env=os.environ | LESS_COLLECTING,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self, sent: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process and waits for it; forces it after a while."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(sent)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def assert_alive(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended early:\n{self.log.read_text()[-3000:]}"
