"""Several learners of one job without their learning: a board in memory, and a world in which simulators are lost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from stepstream_trainer.learner.homes import Need, expected_at
from stepstream_trainer.learner.homing import Homing, Hub, Spoke, Waiting
from stepstream_trainer.learner.leases import LeaseTable

TICK_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedsInMemory:
    """A board's needs, told at once; `shared` is all learners'."""

    rank: int
    shared: dict[int, Need]

    def tell_need(self, need: Need) -> None:
        self.shared[self.rank] = need

    def needs(self) -> Mapping[int, Need]:
        return dict(self.shared)


@dataclass(kw_only=True, slots=True)
class _Stream:
    simulator: str
    rank: int
    guest: bool
    leased: bool = False


@dataclass(kw_only=True, slots=True)
class World:
    """Learners with four slots each, in two groups, and simulators that always keep a spare stream on offer."""

    learners: int
    simulators: int
    now: float = 100.0
    alive: set[str] = field(default_factory=set)
    redirects: int = 0
    streams: dict[int, _Stream] = field(default_factory=dict)
    tables: list[LeaseTable] = field(init=False)
    homings: list[Homing] = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _incarnations: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shared: dict[int, Need] = {}
        boards = [NeedsInMemory(rank=rank, shared=shared) for rank in range(self.learners)]
        self.homings = [
            Spoke(board, board.rank, lambda: self.now) if board.rank else Hub(board, self.learners, lambda: self.now)
            for board in boards
        ]
        self.tables = [
            LeaseTable(
                [range(2), range(2, 4)],
                expected=expected_at(rank, simulators=self.simulators, learners=self.learners),
                max_lease_slots=64,
            )
            for rank in range(self.learners)
        ]

    def join(self, name: str) -> None:
        self._incarnations[name] = self._incarnations.get(name, 0) + 1
        self.alive.add(name)
        self._offer(name)

    def lose(self, name: str) -> None:
        self.alive.remove(name)
        for number in [number for number, stream in self.streams.items() if stream.simulator == name]:
            self._end(number)
        self._grant()

    def wait(self, seconds: float) -> None:
        """Learners look around, and episodes end, all the while."""
        for _ in range(int(seconds / TICK_SECONDS)):
            self.now += TICK_SECONDS
            self._end_episodes()
            self._grant()
            for homing, table in zip(self.homings, self.tables, strict=True):
                self._move(homing, table)

    def free_slots(self, rank: int) -> int:
        return 4 - self.tables[rank].num_leased

    def served_by(self, rank: int) -> dict[str, int]:
        """Slots of the learner, by the simulator that serves them."""
        served: dict[str, int] = {}
        for number, stream in self.streams.items():
            if stream.rank == rank and stream.leased:
                slots = len(self.tables[rank]._leases[number].slots)
                served[stream.simulator] = served.get(stream.simulator, 0) + slots
        return {name: slots for name, slots in served.items() if slots}

    def _offer(self, name: str, rank: int = 0, *, guest: bool = False) -> None:
        """To that learner; where it is redirected, to the next."""
        place = self.homings[rank].place(name, guest=guest)
        if place.rank != rank:
            self.redirects += 1
            self._offer(name, place.rank, guest=place.guest)
            return
        number = next(self._numbers)
        self.tables[rank].offer(number, name, self._incarnations[name], self.now, guest=place.guest)
        self.streams[number] = _Stream(simulator=name, rank=rank, guest=place.guest)
        self._grant()

    def _grant(self) -> None:
        granted = [grant.stream for table in self.tables for grant in table.grants(self.now)]
        for number in granted:
            self.streams[number].leased = True
        for number in [number for table in self.tables for number in table.spent()]:
            self._end(number)
        for number in granted:
            self._offer(self.streams[number].simulator)

    def _end(self, number: int) -> None:
        stream = self.streams.pop(number)
        self.tables[stream.rank].ended(number, self.now)

    def _end_episodes(self) -> None:
        """Of all slots that are to leave."""
        for number, stream in [*self.streams.items()]:
            if stream.leased:
                for slot in sorted(self.tables[stream.rank].leaving(number)):
                    self.tables[stream.rank].released(number, slot, self.now)

    def _move(self, homing: Homing, table: LeaseTable) -> None:
        here = {number: stream for number, stream in self.streams.items() if stream.rank == homing.rank}
        need = Need(free_slots=4 - table.num_leased, simulators=frozenset(stream.simulator for stream in here.values()))
        waiting = {
            number: Waiting(simulator=stream.simulator, guest=stream.guest)
            for number, stream in here.items()
            if not stream.leased
        }
        for number, place in homing.moves(need, waiting).items():
            name = self.streams[number].simulator
            self._end(number)
            self.redirects += 1
            self._offer(name, place.rank, guest=place.guest)
