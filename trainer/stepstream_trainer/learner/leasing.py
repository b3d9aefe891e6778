"""Leases at work: joins the table of who serves what with the slots' memory, for the threads of all streams.

Both change under one lock, the slots': a slot passes from stream to stream and from stream to loop in one move.
"""

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stepstream_trainer.channel import rows_seconds
from stepstream_trainer.learner.homes import Need, Place
from stepstream_trainer.learner.homing import Homing, Waiting
from stepstream_trainer.learner.lanes import Lanes
from stepstream_trainer.learner.leases import Grant, LeaseTable
from stepstream_trainer.learner.slots import LaneActions, LaneStart, Slots
from stepstream_trainer.logs import get_log
from stepstream_trainer.rows import Rows

_log = get_log("leasing")


class StreamOverError(Exception):
    """The stream is to end: the job does, its lease has nothing left, or a later start of its simulator replaced it."""


class SentElsewhereError(Exception):
    """The offer belongs to another learner."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"the offer belongs to the learner of rank {place.rank}")
        self.place = place


class LeaseMetrics(Protocol):
    """What leasing reports; any thread."""

    def leases_stand(self, *, leased: int, free: int, streams: int) -> None: ...

    def replayed(self, steps: int) -> None: ...

    def rebuilt_differently(self, slots: int) -> None: ...

    def simulators_waited(self, slot_seconds: float) -> None: ...

    def simulator_stepped(self, simulator: str, group: int, seconds: float) -> None: ...


@dataclass(kw_only=True, slots=True, eq=False)
class Stream:
    """An offer or a lease. Changed under the lock."""

    number: int
    simulator: str
    incarnation: int
    cancel: Callable[[], object]
    guest: bool = False
    """Whether the simulator's home is another learner."""
    sent_to: Place | None = None
    """Where the offer went on to; None where it did not."""
    lanes: Lanes | None = None
    starts: Sequence[LaneStart] = ()
    rebuilding: int = 0
    """Slots whose episodes the simulator replays before it brings its first rows."""
    rows_due: float = math.inf
    """Monotonic seconds by which the simulator must have answered."""
    steps_since: float = math.nan
    """Monotonic seconds since when it has had the actions of this turn; NaN while it waits."""
    waits_since: float = math.nan
    """Monotonic seconds since when the simulator has waited for actions; NaN while it steps."""
    over: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What a lease's simulator is told at each turn."""

    actions: LaneActions
    release: Sequence[int] = field(default=())
    """Slots to let go at their episodes' ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """How the slots are served: how many are, how many of these are being rebuilt, and by how many simulators."""

    leased: int = 0
    rebuilding: int = 0
    simulators: int = 0


class Leasing:
    """Every method is for any thread, save where it says the stream's."""

    def __init__(
        self,
        slots: Slots,
        table: LeaseTable,
        metrics: LeaseMetrics,
        clock: Callable[[], float] = time.monotonic,
        *,
        homing: Homing | None = None,
    ) -> None:
        """`homing` says which offers belong to other learners, where there are others."""
        self._clock = clock
        self._homing = homing
        self._slots = slots
        self._table = table
        self._metrics = metrics
        self._numbers = itertools.count()
        self._streams: dict[int, Stream] = {}
        self._serving = self._stopped = False
        self._lock = slots.lock
        self._changed = threading.Condition(self._lock)

    def begin(self) -> None:
        """Grant leases from now on: the slots stand where the job begins or goes on."""
        with self._lock:
            self._serving = True
            self._grant()

    def expect(self, simulators: int) -> None:
        """The job's number of simulators is another."""
        with self._lock:
            self._table.expected = simulators

    def service(self) -> Service:
        """How the slots are served now."""
        with self._lock:
            return Service(
                leased=self._table.num_leased,
                rebuilding=sum(stream.rebuilding for stream in self._streams.values()),
                simulators=self._table.num_simulators,
            )

    def offer(self, simulator: str, incarnation: int, cancel: Callable[[], object], *, guest: bool = False) -> Stream:
        """A stream offers itself; `cancel` ends it from outside.

        Raises StaleIncarnationError, StreamOverError, SentElsewhereError.
        """
        with self._lock:
            if self._stopped:
                raise StreamOverError
            guest = self._keep(simulator, guest=guest)
            for other in [*self._streams.values()]:
                if other.simulator == simulator and other.incarnation < incarnation:
                    self._end(other)
                    other.cancel()
            number = next(self._numbers)
            self._table.offer(number, simulator, incarnation, self._clock(), guest=guest)
            stream = Stream(number=number, simulator=simulator, incarnation=incarnation, cancel=cancel, guest=guest)
            self._streams[number] = stream
            self._grant()
        return stream

    def wait_lease(self, stream: Stream, timeout_seconds: float) -> Lanes | None:
        """The offer's lanes, once it is granted; None before. The stream's thread.

        Raises StreamOverError, SentElsewhereError.
        """
        with self._lock:
            self._changed.wait_for(lambda: stream.over or stream.lanes is not None, timeout_seconds)
            if stream.sent_to is not None:
                raise SentElsewhereError(stream.sent_to)
            if stream.over:
                raise StreamOverError
            return stream.lanes

    def write_rows(self, stream: Stream, rows: Rows) -> None:
        """Take in what the simulator brought. Raises StreamOverError. The stream's thread."""
        assert stream.lanes is not None
        copied = self._slots.copy_rows(stream.lanes, rows)
        if copied is None:
            raise StreamOverError
        with self._lock:
            now = self._clock()
            if not math.isnan(stream.steps_since):
                self._metrics.simulator_stepped(stream.simulator, stream.lanes.group, now - stream.steps_since)
            stream.rows_due, stream.waits_since, stream.steps_since = math.inf, now, math.nan
            stream.rebuilding = 0
            for slot in self._slots.finish_rows(stream.lanes, copied):
                self._pass_on(stream, slot)
        if copied.differing:
            slots = stream.lanes.slot_n[copied.differing].tolist()
            _log.error("rebuilt_differently", slots=slots, hint="set spec.environment.deterministic to false")
            self._metrics.rebuilt_differently(len(slots))

    def wait_turn(self, stream: Stream, timeout_seconds: float) -> Turn | None:
        """What to tell the simulator; None when there is nothing yet. Raises StreamOverError. The stream's thread."""
        lanes = stream.lanes
        assert lanes is not None
        with self._lock:
            waiting = len(lanes.serving())
            actions = self._slots.wait_actions(lanes, timeout_seconds)
            if stream.over:
                raise StreamOverError
            if actions is None:
                return None
            release = sorted(self._table.leaving(stream.number) - lanes.leaving)
            lanes.leaving.update(release)
            now = self._clock()
            self._metrics.simulators_waited((now - stream.waits_since) * waiting)
            stream.rows_due, stream.waits_since, stream.steps_since = now + rows_seconds(), math.nan, now
            return Turn(actions=actions, release=release)

    def end(self, stream: Stream) -> None:
        """The stream is gone: others get its slots. It may have ended before."""
        with self._lock:
            if stream.number in self._streams:
                self._end(stream)
                self._grant()

    def stop(self) -> None:
        """End all streams; their threads raise StreamOverError."""
        with self._lock:
            self._serving, self._stopped = False, True
            for stream in [*self._streams.values()]:
                self._end(stream)

    def look(self) -> None:
        """What time alone brings about, a few times a second: patience that ends, simulators that hang or go on."""
        now = self._clock()
        with self._lock:
            self._grant()
            self._move()
            overdue = [stream for stream in self._streams.values() if now > stream.rows_due]
        for stream in overdue:
            _log.warning("simulator_hangs", simulator=stream.simulator)
            self.end(stream)
            stream.cancel()

    def _grant(self) -> None:
        """Locked."""
        if not self._serving:
            return
        for grant in self._table.grants(self._clock()):
            self._open(self._streams[grant.stream], grant)
        for number in self._table.spent():
            if (stream := self._streams.get(number)) is not None:  # ending one lets go of the lock: others may end, too
                self._end(stream)
        leased = self._table.num_leased
        total = len(self._slots.reward)
        self._metrics.leases_stand(leased=leased, free=total - leased, streams=len(self._streams))
        self._changed.notify_all()

    def _keep(self, simulator: str, *, guest: bool) -> bool:
        """Whether an offer that belongs here is a guest's. Raises SentElsewhereError for one that does not. Locked."""
        if self._homing is None:
            return False
        place = self._homing.place(simulator, guest=guest)
        if place.rank != self._homing.rank:
            raise SentElsewhereError(place)
        return place.guest

    def _move(self) -> None:
        """Tell of this learner's need, and send on the offers that others need more. Locked.

        Before it grants leases it needs nobody: whoever has been here may go and let another learner begin.
        """
        if self._homing is None:
            return
        free = len(self._slots.reward) - self._table.num_leased if self._serving else 0
        need = Need(free_slots=free, simulators=frozenset(stream.simulator for stream in self._streams.values()))
        waiting = {
            number: Waiting(simulator=stream.simulator, guest=stream.guest)
            for number, stream in self._streams.items()
            if stream.lanes is None
        }
        for number, place in self._homing.moves(need, waiting).items():
            stream = self._streams[number]
            stream.sent_to = place
            self._end(stream)

    def _open(self, stream: Stream, grant: Grant) -> None:
        """Locked."""
        later = grant.slots if grant.promised else ()
        stream.lanes, stream.starts = self._slots.open_lanes(grant.group, grant.slots, later)
        lengths = [len(start.actions) // 4 for start in stream.starts]
        stream.rows_due = self._clock() + rows_seconds(max(lengths))
        stream.rebuilding = sum(length > 0 for length in lengths)
        self._metrics.replayed(sum(lengths))
        _log.info("leased", simulator=stream.simulator, group=grant.group, slots=len(grant.slots), replay=sum(lengths))

    def _pass_on(self, stream: Stream, slot: int) -> None:
        """The episode of a leaving slot has ended. Locked."""
        receiver = self._table.released(stream.number, slot, self._clock())
        if receiver is not None:
            lanes = self._streams[receiver].lanes
            assert lanes is not None
            self._slots.adopt(lanes, slot)
        self._grant()

    def _end(self, stream: Stream) -> None:
        """Locked. Waits while the stream's thread copies a row."""
        stream.over = True
        if stream.lanes is not None:
            self._slots.close_lanes(stream.lanes)
        self._streams.pop(stream.number, None)
        self._table.ended(stream.number, self._clock())
        self._changed.notify_all()
