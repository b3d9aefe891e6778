"""Processes instead of containers: exactly a container's command and environment, output to one file, an own group."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

LAUNCHER = Path(__file__).with_name("launch.py")
_TAIL_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSpec:
    """What to run. `environment` is the container's; the runner's own is around it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@dataclass(slots=True)
class Process:
    """A child of the runner. `lived_seconds` is right once `exit_code` is there."""

    spec: ProcessSpec
    child: "subprocess.Popen[bytes]"
    started: float
    log_offset: int

    @property
    def pid(self) -> int:
        return self.child.pid

    def exit_code(self) -> int | None:
        """None while it runs; as the shell and Kubernetes count it, 128 + signal where a signal ended it."""
        code = self.child.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """To its whole group; nothing happens where it has ended."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, number)

    def last_words(self) -> str:
        """The last line it wrote, or nothing."""
        with self.spec.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_offset, end - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def start(spec: ProcessSpec, *, note: str) -> Process:
    """Main thread only (see launch.py). `note` heads its part of the log file, which earlier lives may share."""
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    with spec.log.open("ab") as log:
        log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} {note}\n".encode())
        log.flush()
        child = _spawn(spec, log)
        return Process(spec=spec, child=child, started=time.monotonic(), log_offset=log.tell())


def _spawn(spec: ProcessSpec, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    launcher = (sys.executable, "-S", "-E", str(LAUNCHER), str(os.getpid()))
    return subprocess.Popen(
        (*launcher, *local_command(spec.command)),
        env=run_environment(spec.environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,  # Ctrl-C is the runner's to hear
    )


def run_environment(container: Mapping[str, str]) -> dict[str, str]:
    """The container's variables over the runner's own, of which nothing of another job's contract is left."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("STEPSTREAM_")}
    return {**own, **container}


def local_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """A container's `python` is the image's; here it is the one that runs us."""
    program, *arguments = command
    return (sys.executable if program == "python" else program, *arguments)


def describe_exit(code: int) -> str:
    """What a person calls it: `was killed by SIGKILL`, `ended with exit code 1`."""
    if code > 128 and code - 128 in {int(number) for number in signal.valid_signals()}:
        return f"was killed by {signal.Signals(code - 128).name}"
    return f"ended with exit code {code}"
