"""A module of the tests as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def python_module(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """With one thread for its arithmetic, and loopback for its collectives; killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def next_line(process: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
