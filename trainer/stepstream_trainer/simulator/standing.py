"""How a simulator stands with its learner: what its watchdog, /status, /healthz and /readyz go by.

Without a learner a simulator is not ready, and healthy all the same: waiting for one is its work, and no restart would
bring one. Unhealthy is a simulator whose threads hang, since nothing but its own end puts an end to that.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from stepstream_trainer.channel import SILENCE_SECONDS, rows_seconds
from stepstream_trainer.simulator.metrics import SimulatorMetrics

STUCK_SECONDS: Final = 2 * SILENCE_SECONDS
"""A learner's silence that the watchdog should have ended long ago."""


class OpenStream(Protocol):
    """A stream, as far as it is looked at here."""

    was_accepted: bool

    def waits_seconds(self) -> float: ...


_S = TypeVar("_S", bound=OpenStream)


@dataclass(kw_only=True, slots=True)
class _Work:
    """What an open stream is there for."""

    leased: bool = False
    slots: int = 0
    """Served with it."""
    rows_due: float = math.inf
    """Monotonic seconds by which its environments must have stepped."""


class Standing(Generic[_S]):
    """Of one simulator with its open streams. Told by the streams' threads, asked by any."""

    def __init__(self, name: str, metrics: SimulatorMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self._open: dict[_S, _Work] = {}
        self._exchanged_at: float | None = None

    # Told.

    def offered(self, stream: _S) -> None:
        self._open[stream] = _Work()

    def stepping(self, stream: _S, *, replayed: int = 0) -> None:
        """The environments of the stream's lease begin a step, after that many which they make again."""
        work = self._open[stream]
        work.leased, work.rows_due = True, self._clock() + rows_seconds(replayed)

    def stepped(self, stream: _S) -> None:
        self._open[stream].rows_due = math.inf

    def exchanged(self, stream: _S, slots: int) -> None:
        """The learner has answered the rows of so many slots."""
        self._exchanged_at = self._clock()
        self._serves(stream, slots)

    def left(self, stream: _S) -> None:
        self._serves(stream, 0)
        del self._open[stream]

    # Asked.

    def silent(self) -> list[_S]:
        """Streams whose learner, waited for, should have said something long ago."""
        return [stream for stream in tuple(self._open) if stream.waits_seconds() > SILENCE_SECONDS]

    def ready(self) -> str | None:
        """Nothing while a learner accepts this simulator's streams, whether it has slots for them or not; else why."""
        accepted = any(stream.was_accepted for stream in tuple(self._open))
        return None if accepted else "no learner accepts this simulator's streams"

    def healthy(self) -> str | None:
        """Nothing, or the sentence that says why the process should be replaced."""
        now = self._clock()
        for stream, work in tuple(self._open.items()):
            if now > work.rows_due:
                return f"a lease's environments should have stepped {now - work.rows_due:.0f} s ago"
            if stream.waits_seconds() > STUCK_SECONDS:
                return f"a stream has waited {stream.waits_seconds():.0f} s for a learner that says nothing"
        return None

    def status(self) -> dict[str, Any]:
        """What /status answers: by lease the slots that are served, and the seconds since a learner last answered."""
        exchanged_at = self._exchanged_at
        return {
            "simulator": self._name,
            "accepted": self.ready() is None,
            "leases": [work.slots for work in tuple(self._open.values()) if work.leased],
            "secondsSinceExchange": None if exchanged_at is None else self._clock() - exchanged_at,
        }

    def _serves(self, stream: _S, slots: int) -> None:
        work = self._open[stream]
        self._metrics.slots_changed(slots - work.slots)
        work.slots = slots
