"""Which simulator serves which slots: a pure state machine; time and streams come in as arguments.

A simulator offers streams; an offer that is granted slots is a lease until its stream ends. Every slot is in at most
one lease. A simulator's fair share of a group: the group's slots divided by the simulators there are, or are expected.
Slots beyond the share of those present wait a while for others to come, then go to whoever offers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


class StaleIncarnationError(Exception):
    """A process of this name that started later has already offered itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """An offer becomes a lease."""

    stream: int
    group: int
    slots: tuple[int, ...]


@dataclass(kw_only=True, slots=True)
class _Stream:
    simulator: str
    incarnation: int
    group: int = -1
    slots: set[int] = field(default_factory=set)
    leaving: set[int] = field(default_factory=set)
    """Slots to move to another simulator when their episodes end."""


class LeaseTable:
    """`expected` is the number of simulators the job asks for; times are monotonic seconds. Not thread-safe."""

    def __init__(self, groups: Sequence[range], *, expected: int, patience_seconds: float = 3.0) -> None:
        self._groups = [set(group) for group in groups]
        self._sizes = [len(group) for group in groups]
        self.expected = expected
        self._patience_seconds = patience_seconds
        self._streams: dict[int, _Stream] = {}
        self._newest: dict[str, int] = {}
        self._free_since = [math.inf] * len(groups)

    def offer(self, stream: int, simulator: str, incarnation: int, now: float) -> list[int]:
        """A stream offers itself. Gives the streams of that simulator's earlier life, which end with this.

        Raises StaleIncarnationError.
        """
        if incarnation < self._newest.get(simulator, 0):
            raise StaleIncarnationError(f"{simulator}: a later start of it is already known")
        self._newest[simulator] = incarnation
        outlived = [
            number
            for number, other in self._streams.items()
            if other.simulator == simulator and other.incarnation < incarnation
        ]
        for number in outlived:
            self.ended(number, now)
        self._streams[stream] = _Stream(simulator=simulator, incarnation=incarnation)
        self._rebalance()
        return outlived

    def ended(self, stream: int, now: float) -> None:
        """A stream is gone; its slots are free. Unknown streams are ignored: it may have ended before."""
        gone = self._streams.pop(stream, None)
        if gone is None:
            return
        if gone.slots:
            self._free(gone.group, gone.slots, now)
        self._rebalance()

    def episodes_ended(self, stream: int, slots: Sequence[int], now: float) -> list[int]:
        """Episodes of a lease ended; gives those of its slots that are free now. The lane is vacant from then on."""
        lease = self._streams.get(stream)
        if lease is None:
            return []
        moved = lease.leaving.intersection(slots)
        lease.slots -= moved
        lease.leaving -= moved
        if moved:
            self._free(lease.group, moved, now)
        return sorted(moved)

    def leaving(self, stream: int) -> list[int]:
        """Slots of a lease that are to move at their episodes' ends."""
        lease = self._streams.get(stream)
        return sorted(lease.leaving) if lease else []

    def grants(self, now: float) -> list[Grant]:
        """Turn offers into leases as far as there are free slots for them."""
        granted = []
        for group, free in enumerate(self._groups):
            if not free:
                continue
            self._free_since[group] = min(self._free_since[group], now)
            waited = now - self._free_since[group] >= self._patience_seconds
            granted += list(self._grant_group(group, free, waited))
            if not free:
                self._free_since[group] = math.inf
        return granted

    @property
    def leased(self) -> int:
        """Slots that a simulator serves."""
        return sum(self._sizes) - sum(len(free) for free in self._groups)

    @property
    def simulators(self) -> int:
        """Simulators with an open stream."""
        return len({stream.simulator for stream in self._streams.values()})

    def _grant_group(self, group: int, free: set[int], waited: bool) -> Iterator[Grant]:
        """Those who serve least come first."""
        offers = [number for number, stream in self._streams.items() if not stream.slots and stream.group < 0]
        offers.sort(key=lambda number: (self._served(self._streams[number].simulator, group), number))
        for position, number in enumerate(offers):
            stream = self._streams[number]
            room = self._share(group) - self._served(stream.simulator, group)
            if waited:
                room = max(room, math.ceil(len(free) / (len(offers) - position)))
            slots = sorted(free)[: max(0, room)]
            if slots:
                free.difference_update(slots)
                stream.group, stream.slots = group, set(slots)
                yield Grant(stream=number, group=group, slots=tuple(slots))

    def _share(self, group: int) -> int:
        return math.ceil(self._sizes[group] / max(1, self.expected, self.simulators))

    def _served(self, simulator: str, group: int) -> int:
        """Slots of the group that the simulator serves and keeps."""
        return sum(
            len(stream.slots) - len(stream.leaving)
            for stream in self._streams.values()
            if stream.simulator == simulator and stream.group == group
        )

    def _free(self, group: int, slots: set[int], now: float) -> None:
        self._groups[group] |= slots
        self._free_since[group] = min(self._free_since[group], now)

    def _rebalance(self) -> None:
        """Mark what simulators above their share must give to those below it, no more."""
        for group, free in enumerate(self._groups):
            share = self._share(group)
            served = {stream.simulator: self._served(stream.simulator, group) for stream in self._streams.values()}
            wanted = sum(max(0, share - count) for count in served.values()) - len(free) - self._already_leaving(group)
            for stream in self._streams.values():
                if stream.group == group and wanted > 0:
                    surplus = min(wanted, max(0, served[stream.simulator] - share))
                    chosen = sorted(stream.slots - stream.leaving)[:surplus]
                    stream.leaving.update(chosen)
                    served[stream.simulator] -= len(chosen)
                    wanted -= len(chosen)

    def _already_leaving(self, group: int) -> int:
        return sum(len(stream.leaving) for stream in self._streams.values() if stream.group == group)
