"""Signals, turned into one thing the runner's loop can wait for."""

import math
import os
import select
import signal
import time
from types import FrameType, TracebackType
from typing import Self

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SAME_REQUEST_SECONDS = 1.0
"""`timeout` signals its command and its group; make hands SIGTERM on. What comes twice at once was asked once."""


class Wakeup:
    """Inside its `with`, requests to stop are counted instead of raised, and a child's death ends `wait` at once.

    Under nohup, which has us ignore it, a closed terminal ends nothing.
    """

    def __init__(self) -> None:
        self.stop_requests = 0
        self._requested_at = -math.inf
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*_STOP, signal.SIGCHLD):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float) -> None:
        """Until a signal comes, at most `seconds`."""
        if select.select([self._read], [], [], max(0.0, seconds))[0]:
            os.read(self._read, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number in _STOP and now - self._requested_at >= SAME_REQUEST_SECONDS:
            self.stop_requests += 1
            self._requested_at = now
