"""Handshakes that TLS refuses, counted by what gRPC logs of them: its Python interface tells of none.

gRPC and other native libraries write to file descriptor 2. Here that is a pipe, whose reader counts and passes on the
rest; Python's own standard error goes where it went before, so that nothing we say waits for this.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

VERBOSITY: Final = "GRPC_VERBOSITY"
"""The level of gRPC's log, which it reads when its first server or channel is made."""

_STDERR: Final = 2
_REFUSED: Final = b"Handshake failed"
_INFORMATIVE: Final = re.compile(rb"I\d{4} [\d:.]+ +\d+ \S+\.cc:\d+\]")
"""How gRPC's lines of the level INFO begin."""


class RefusedHandshakes:
    """To be entered before this process makes its first gRPC server, and before it configures its logs."""

    def __init__(self) -> None:
        self.tell: Callable[[], None] = lambda: None
        """Called at each refusal, by a thread of this."""
        self._passes_on_all = VERBOSITY in os.environ
        self._direct = os.dup(_STDERR)

    def __enter__(self) -> RefusedHandshakes:
        os.environ.setdefault(VERBOSITY, "INFO")
        sys.stderr.flush()
        self._before = sys.stderr
        sys.stderr = open(self._direct, "w", buffering=1, errors="backslashreplace", closefd=False)
        reading, writing = os.pipe()
        os.dup2(writing, _STDERR)
        os.close(writing)
        faulthandler.enable(self._direct)  # what a crash of native code says goes down with this process, in the pipe
        self._reader = threading.Thread(target=self._read, args=(reading,), name="native-log", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Passes on what was written, unless a child process goes on to write."""
        sys.stderr = self._before
        os.dup2(self._direct, _STDERR)
        faulthandler.enable(_STDERR)
        self._reader.join(timeout=1.0)
        if not self._reader.is_alive():
            os.close(self._direct)

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as lines:
            for line in lines:
                if _REFUSED in line:
                    self.tell()
                if self._passes_on_all or not _INFORMATIVE.match(line):
                    with suppress(OSError):  # nobody reads: whoever writes to the pipe must not wait for that
                        os.write(self._direct, line)
