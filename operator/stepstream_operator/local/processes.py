"""Processes instead of containers: exactly a container's command and environment, output to one file, an own group."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

LAUNCHER = Path(__file__).with_name("launch.py")
TAIL_BYTES = 2048
"""Of a log, as Kubernetes keeps them of a container that failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessSpec:
    """What to run. `environment` is the container's; the runner's own is around it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@dataclass(slots=True)
class Process:
    """A child of the runner."""

    spec: ProcessSpec
    child: "subprocess.Popen[bytes]"
    started_at: datetime
    log_offset: int
    ended_at: datetime | None = None
    """When its end was first noticed."""

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def lived_seconds(self) -> float:
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()

    def exit_code(self) -> int | None:
        """None while it runs; as the shell and Kubernetes count it, 128 + signal where a signal ended it."""
        code = self.child.poll()
        if code is None:
            return None
        self.ended_at = self.ended_at or datetime.now(UTC)
        return code if code >= 0 else 128 - code

    def signal_name(self) -> str:
        """Of the signal that ended it, such as SIGKILL; otherwise nothing."""
        code = self.child.poll()
        return signal.Signals(-code).name if code is not None and code < 0 else ""

    def signal(self, number: signal.Signals) -> None:
        """To its whole group; nothing happens where it has ended."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, number)

    def log_tail(self) -> str:
        """The last of what it wrote in this life, at most TAIL_BYTES; nothing where somebody has removed it."""
        try:
            with self.spec.log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self.log_offset, end - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def start(spec: ProcessSpec, *, note: str) -> Process:
    """Main thread only (see launch.py). `note` heads its part of the log file, which earlier lives may share."""
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    with spec.log.open("ab", buffering=0) as log:
        with suppress(OSError):  # a full disk: the process may well make room
            log.write(f"--- {now:%Y-%m-%d %H:%M:%S} {note}\n".encode())
        return Process(spec=spec, started_at=now, log_offset=log.tell(), child=_spawn(spec, log))


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
