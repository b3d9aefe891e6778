"""Which simulator serves which slots: a pure state machine; streams, moves and time come in as arguments.

A simulator offers streams; an offer that is granted slots is a lease until its stream ends. Every slot is in at most
one lease. A simulator's share of a group is the group's slots divided by the simulators there are, or are expected.

    free slots       go to whoever serves less than its share; after `patience_seconds`, to anyone who offers
    a new simulator  is granted a lease of slots that are still others'. Each follows when its episode ends: it is
                     promised to the new lease, and the old one is to release it
    a lease with half of its lanes vacant or more is promised, in the same way, to a smaller one of the same simulator,
                     because a vacant lane costs its simulator as much as any other
    a guest          is a simulator whose home is another learner (homes.py). It has no share beside simulators that are
                     at home here: it is granted what is free, and a simulator at home that joins is promised all of it
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

Stream = int
Slot = int

MAX_REMEMBERED: Final = 4096
"""Simulators whose latest start is known, more than there can be at once."""


class StaleIncarnationError(Exception):
    """A process of this name that started later has already offered itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """An offer becomes a lease."""

    stream: Stream
    group: int
    slots: tuple[Slot, ...]
    promised: bool
    """Whether all of the slots are still others', or all are free."""


@dataclass(kw_only=True, slots=True)
class _Offer:
    simulator: str
    incarnation: int
    guest: bool


@dataclass(kw_only=True, slots=True)
class _Lease(_Offer):
    group: int
    num_lanes: int
    slots: set[Slot] = field(default_factory=set)
    promised: set[Slot] = field(default_factory=set)
    """Slots that others are to release to this lease."""

    @property
    def is_spent(self) -> bool:
        return not self.slots and not self.promised


class LeaseTable:
    """`expected` is the number of simulators that the job asks for, of those at home here; times are monotonic seconds.

    Not thread-safe.
    """

    def __init__(
        self,
        groups: Sequence[range],
        *,
        expected: int,
        max_lease_slots: int,
        patience_seconds: float = 6.0,
    ) -> None:
        self.expected = expected
        self._groups = groups
        self._max_lease_slots = max_lease_slots
        self._patience_seconds = patience_seconds
        self._offers: dict[Stream, _Offer] = {}
        self._leases: dict[Stream, _Lease] = {}
        self._newest: dict[str, int] = {}
        """Incarnations, in the order of their offers."""
        self._free_since = {slot: math.inf for group in groups for slot in group}
        """Free slots; patience with those that nobody has served yet begins with the first `grants`."""
        self._leaving: dict[Slot, Stream | None] = {}
        """Slots to be released at their episode's end, and the lease they are promised to; None when that one ended."""

    def offer(
        self, stream: Stream, simulator: str, incarnation: int, now: float, *, guest: bool = False
    ) -> list[Stream]:
        """A stream offers itself. Gives the streams of that simulator's earlier life, which end with this.

        Raises StaleIncarnationError.
        """
        if incarnation < self._newest.get(simulator, 0):
            raise StaleIncarnationError(f"a process named {simulator} that started later is already known")
        self._remember(simulator, incarnation)
        outlived = [
            number
            for number, other in (*self._offers.items(), *self._leases.items())
            if other.simulator == simulator and other.incarnation < incarnation
        ]
        for number in outlived:
            self.ended(number, now)
        self._offers[stream] = _Offer(simulator=simulator, incarnation=incarnation, guest=guest)
        return outlived

    def ended(self, stream: Stream, now: float) -> None:
        """A stream is gone: its slots are free, what it was promised stays where it is. It may have ended before."""
        self._offers.pop(stream, None)
        lease = self._leases.pop(stream, None)
        if lease is None:
            return
        for slot in lease.slots:
            self._free_since[slot] = now
            self._withdraw(slot)
        for slot in lease.promised:
            self._leaving[slot] = None

    def released(self, stream: Stream, slot: Slot, now: float) -> Stream | None:
        """The episode of a slot that was to leave `stream` has ended. Gives the lease it now belongs to, if any."""
        self._leases[stream].slots.remove(slot)
        receiver = self._leaving.pop(slot)
        if receiver is None:
            self._free_since[slot] = now
            return None
        self._leases[receiver].promised.remove(slot)
        self._leases[receiver].slots.add(slot)
        return receiver

    def grants(self, now: float) -> list[Grant]:
        """Turn offers into leases, as far as there are slots for them."""
        for slot, since in self._free_since.items():
            self._free_since[slot] = min(since, now)
        granted: list[Grant] = []
        for group, slots in enumerate(self._groups):
            granted += self._grant_free(group, slots, now)
            granted += self._promise_to_new(group, slots)
            granted += self._shrink(group)
        return granted

    def spent(self) -> list[Stream]:
        """Leases that serve nothing and never will."""
        return [stream for stream, lease in self._leases.items() if lease.is_spent]

    def receiver_of(self, slot: Slot) -> Stream | None:
        """The lease that a slot is promised to."""
        return self._leaving.get(slot)

    def leaving(self, stream: Stream) -> set[Slot]:
        """Slots of a lease that are to be released when their episodes end."""
        return self._leases[stream].slots & self._leaving.keys()

    @property
    def num_leased(self) -> int:
        """Slots that some simulator serves."""
        return sum(len(lease.slots) for lease in self._leases.values())

    @property
    def num_streams(self) -> int:
        return len(self._offers) + len(self._leases)

    @property
    def num_simulators(self) -> int:
        """Simulators with an open stream."""
        return len({stream.simulator for stream in self._streams()})

    @property
    def at_home(self) -> set[str]:
        """Simulators with an open stream that are no guests."""
        return {stream.simulator for stream in self._streams() if not stream.guest}

    def _remember(self, simulator: str, incarnation: int) -> None:
        """Pods that replace others have names of their own: of a long job's, the latest are enough."""
        self._newest.pop(simulator, None)
        self._newest[simulator] = incarnation
        if len(self._newest) > MAX_REMEMBERED:
            del self._newest[next(iter(self._newest))]

    def _grant_free(self, group: int, slots: range, now: float) -> list[Grant]:
        """Those who serve least come first."""
        free = [slot for slot in slots if slot in self._free_since]
        granted = []
        share = self._share(slots)
        for stream, load in self._offers_of_sharers(group) if free else []:
            if taken := self._take(free, share - load):
                granted.append(self._grant(stream, group, taken, promised=False))
        orphans = [slot for slot in free if now - self._free_since[slot] >= self._patience_seconds]
        offers = self._offers_by_load(group) if orphans else []
        for position, (stream, _) in enumerate(offers):
            if taken := self._take(orphans, math.ceil(len(orphans) / (len(offers) - position))):
                granted.append(self._grant(stream, group, taken, promised=False))
        return granted

    def _promise_to_new(self, group: int, slots: range) -> list[Grant]:
        """To simulators that serve less than an even division gives, from those that serve more."""
        if any(slot in self._free_since for slot in slots):
            return []
        fewest = len(slots) // max(1, len(self._sharers()))
        granted = []
        for stream, load in self._offers_of_sharers(group):
            wanted = min(fewest - load, self._max_lease_slots)
            if chosen := self._surplus(group, keep=fewest, wanted=wanted):
                granted.append(self._grant(stream, group, chosen, promised=True))
        return granted

    def _surplus(self, group: int, *, keep: int, wanted: int) -> list[Slot]:
        """Up to `wanted` slots of simulators that keep at least `keep`, at each turn from the one that has most."""
        leases = [lease for lease in self._leases.values() if lease.group == group]
        homeless = sorted(slot for slot, receiver in self._leaving.items() if receiver is None)
        chosen = [slot for slot in homeless if any(slot in lease.slots for lease in leases)][: max(0, wanted)]
        staying: dict[str, list[Slot]] = {lease.simulator: [] for lease in leases}
        for lease in leases:
            staying[lease.simulator] += sorted(lease.slots - self._leaving.keys())
        sharers = self._sharers()
        kept = {name: keep if name in sharers else 0 for name in staying}
        spare = {name: min(self._load(name, group) - kept[name], len(slots)) for name, slots in staying.items()}
        while len(chosen) < wanted and max(spare.values(), default=0) > 0:
            donor = max(spare, key=lambda name: (spare[name], name))
            chosen.append(staying[donor].pop())
            spare[donor] -= 1
        return sorted(chosen)

    def _shrink(self, group: int) -> list[Grant]:
        """Leases of which half the lanes or more are vacant, none of them for long to come."""
        granted = []
        for lease in [*self._leases.values()]:
            busy = lease.promised or any(slot in self._leaving for slot in lease.slots)
            if lease.group != group or busy or not lease.slots or 2 * len(lease.slots) > lease.num_lanes:
                continue
            offer = next((stream for stream, other in self._offers.items() if other.simulator == lease.simulator), None)
            if offer is not None:
                granted.append(self._grant(offer, group, sorted(lease.slots), promised=True))
        return granted

    def _grant(self, stream: Stream, group: int, slots: list[Slot], *, promised: bool) -> Grant:
        offer = self._offers.pop(stream)
        lease = _Lease(
            simulator=offer.simulator,
            incarnation=offer.incarnation,
            guest=offer.guest,
            group=group,
            num_lanes=len(slots),
        )
        self._leases[stream] = lease
        (lease.promised if promised else lease.slots).update(slots)
        for slot in slots:
            if promised:
                self._leaving[slot] = stream
            else:
                del self._free_since[slot]
        return Grant(stream=stream, group=group, slots=tuple(slots), promised=promised)

    def _withdraw(self, slot: Slot) -> None:
        """Nobody will release the slot any more: its lease has ended."""
        receiver = self._leaving.pop(slot, None)
        if receiver is not None:
            self._leases[receiver].promised.remove(slot)

    def _streams(self) -> list[_Offer]:
        return [*self._offers.values(), *self._leases.values()]

    def _sharers(self) -> set[str]:
        """Simulators among whom the slots are divided: guests only where nobody is at home."""
        return self.at_home or {stream.simulator for stream in self._streams()}

    def _offers_of_sharers(self, group: int) -> list[tuple[Stream, int]]:
        sharers = self._sharers()
        return [entry for entry in self._offers_by_load(group) if self._offers[entry[0]].simulator in sharers]

    def _offers_by_load(self, group: int) -> list[tuple[Stream, int]]:
        """One offer of each simulator, the oldest, with the slots that the simulator serves; the least loaded first."""
        first: dict[str, Stream] = {}
        for stream, offer in self._offers.items():
            first.setdefault(offer.simulator, stream)
        loads = [(stream, self._load(simulator, group)) for simulator, stream in first.items()]
        return sorted(loads, key=lambda entry: (entry[1], entry[0]))

    def _load(self, simulator: str, group: int) -> int:
        """Slots of the group that the simulator serves and keeps, or is promised."""
        return sum(
            len(lease.promised) + sum(self._leaving.get(slot, stream) == stream for slot in lease.slots)
            for stream, lease in self._leases.items()
            if lease.simulator == simulator and lease.group == group
        )

    def _share(self, slots: range) -> int:
        expected = self.expected if self.at_home else 1
        return math.ceil(len(slots) / max(1, expected, len(self._sharers())))

    def _take(self, slots: list[Slot], room: int) -> list[Slot]:
        """Remove from the front of `slots` what there is room for in one lease."""
        size = max(0, min(room, self._max_lease_slots))
        taken, slots[:] = slots[:size], slots[size:]
        return taken
