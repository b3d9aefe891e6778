"""A process that is to run, and how it stands: what a pod is to the operator."""

import time
from dataclasses import dataclass, field

from stepstream_operator.local.backoff import Backoff
from stepstream_operator.local.processes import Process, ProcessSpec, start
from stepstream_operator.status import Pod, Termination
from stepstream_operator.status.troubles import CRASH_LOOP
from stepstream_trainer.config.contract import EXIT_DONE, EXIT_RESUME

_FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
"""Signals that somebody sent: the process's last words have nothing to do with them."""


@dataclass(slots=True)
class Kept:
    """`due` (monotonic) is when it is to be started; None while it runs, and when it has ended for good."""

    spec: ProcessSpec
    role: str
    attempt: int
    due: float | None
    retries: int = 0
    """Failures that are still forgiven."""
    process: Process | None = None
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.exit_code() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before its first start."""
        return None if self.process is None else self.process.exit_code()

    @property
    def failed(self) -> bool:
        """Whether it has ended otherwise than well, or with the wish to be started again."""
        return self.exit_code not in (None, EXIT_DONE, EXIT_RESUME)

    def start(self) -> None:
        """Main thread only."""
        self.due = None
        self.process = start(self.spec, note=f"attempt {self.attempt}")

    def start_again_after(self, lived_seconds: float, jitter: float) -> float:
        """Note that it died; gives the seconds until it is started again."""
        self.backoff = self.backoff.after(lived_seconds)
        delay = self.backoff.delay_seconds(jitter)
        self.due = time.monotonic() + delay
        return delay

    def as_pod(self, *, ready: bool) -> Pod:
        """As the operator would see it. One that dies again and again is in a crash loop."""
        looping = not self.runs and self.due is not None and self.backoff.short_lives > 1
        return Pod(
            name=self.spec.name,
            role=self.role,
            attempt=self.attempt,
            ready=ready and self.runs,
            running=self.runs,
            waiting=CRASH_LOOP if looping else "",
            termination=self._termination(),
        )

    def _termination(self) -> Termination | None:
        if self.process is None or self.process.ended_at is None:
            return None
        code, killed_by = self.process.exit_code(), self.process.signal_name()
        assert code is not None
        return Termination(
            exit_code=code,
            reason=killed_by,
            log="" if killed_by in _FROM_OUTSIDE else self.process.log_tail(),
            started_at=self.process.started_at,
            finished_at=self.process.ended_at,
        )
