"""Which learner a simulator serves: a pure state machine of rank 0; offers, needs and time come in as arguments.

Every offer of a simulator is made to rank 0 first, and goes from there to a learner.

    home       each simulator has one: when it is first heard of, the learner at which fewest are at home. Its offers go
               there, also while nothing is needed there: its spare stream waits where it serves
    need       a learner has free slots. When it has had some for `patience_seconds`, others help: of simulators that
               nobody needs at home, one offer at a time goes there, as a guest (leases.py). So one simulator can serve
               several learners. A guest's offer that finds nothing to do any more goes home
    forgotten  is the home of a simulator that has had no stream anywhere for `forget_seconds`. As soon as its streams
               end it does not count any more, but it comes home if it comes back
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Rank = int
Offer = int

PATIENCE_SECONDS = 3.0
FORGET_SECONDS = 60.0
UNSEEN_SECONDS = 5.0
"""How long a simulator counts that was sent to a learner which has not told of it: longer than word takes to come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an offer belongs."""

    rank: Rank
    guest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a learner tells of itself: how many of its slots nobody serves, and which simulators have streams there."""

    free_slots: int
    simulators: frozenset[str] = frozenset()


@dataclass(kw_only=True, slots=True)
class _Simulator:
    home: Rank
    heard_at: float
    seen: bool = False
    """Whether a learner has told of it since its latest offer."""
    there: bool = True
    helped_at: float = -math.inf


class Needs:
    """Since when learners have had free slots."""

    def __init__(self) -> None:
        self.free_slots: dict[Rank, int] = {}
        self._since: dict[Rank, float] = {}

    def tell(self, rank: Rank, free_slots: int, now: float) -> None:
        self.free_slots[rank] = free_slots
        if free_slots == 0:
            self._since.pop(rank, None)
        else:
            self._since.setdefault(rank, now)

    def overdue(self, now: float, patience_seconds: float = PATIENCE_SECONDS) -> list[Rank]:
        """Learners that have been in need for so long, the longest first."""
        ranks = [rank for rank, since in self._since.items() if now - since >= patience_seconds]
        return sorted(ranks, key=lambda rank: (self._since[rank], rank))


@dataclass(kw_only=True, slots=True)
class _Help:
    """An offer that was sent to a learner in need: nobody else is, until it tells of another need, or for a while."""

    sent_at: float
    free_slots: int


@dataclass(kw_only=True, slots=True)
class Homes:
    """Of a job with `learners`; times are monotonic seconds. Not thread-safe."""

    learners: int
    patience_seconds: float = PATIENCE_SECONDS
    forget_seconds: float = FORGET_SECONDS
    _needs: Needs = field(default_factory=Needs)
    _under_way: dict[Rank, _Help] = field(default_factory=dict)
    _simulators: dict[str, _Simulator] = field(default_factory=dict)

    def stand(self, needs: Mapping[Rank, Need], now: float) -> None:
        """How all learners stand that have told it, rank 0 too."""
        for rank, need in needs.items():
            self._needs.tell(rank, need.free_slots, now)
            help_sent = self._under_way.get(rank)
            if help_sent is not None and help_sent.free_slots != need.free_slots:
                del self._under_way[rank]
        self._hear(frozenset().union(*(need.simulators for need in needs.values())), now)

    def place(self, simulator: str, now: float) -> Place:
        """Where a new offer of the simulator belongs."""
        known = self._simulators.get(simulator)
        if known is None:
            known = self._simulators[simulator] = _Simulator(home=self._home_for_one_more(now), heard_at=now)
        known.heard_at, known.seen, known.there = now, False, True
        if self._needs.free_slots.get(known.home) == 0:
            for rank in self._to_help(now):
                return self._sent(known, rank, now)
        return Place(rank=known.home)

    def moves(self, waiting: Mapping[Offer, str], now: float) -> dict[Offer, Place]:
        """Which of the offers that wait at rank 0, each of a simulator, go elsewhere."""
        if self._needs.free_slots.get(0) != 0:
            return {}
        moved: dict[Offer, Place] = {}
        willing = sorted(waiting, key=lambda offer: (self._known(waiting[offer], now).helped_at, offer))
        for rank in self._to_help(now):
            if willing:
                offer = willing.pop(0)
                moved[offer] = self._sent(self._known(waiting[offer], now), rank, now)
        for offer in willing:
            home = self._known(waiting[offer], now).home
            if home != 0:
                moved[offer] = Place(rank=home)
        return moved

    def home_of(self, simulator: str) -> Rank | None:
        known = self._simulators.get(simulator)
        return known.home if known else None

    def counts(self, now: float) -> list[int]:
        """How many simulators that are there are at home with each learner."""
        counts = [0] * self.learners
        for known in self._simulators.values():
            counts[known.home] += self._counts(known, now)
        return counts

    def _known(self, simulator: str, now: float) -> _Simulator:
        """One that waits here and was forgotten all the same is at home here."""
        return self._simulators.setdefault(simulator, _Simulator(home=0, heard_at=now))

    def _home_for_one_more(self, now: float) -> Rank:
        """Fewest at home; of those one in need, since word of a lost simulator may come later than its successor."""
        counts = self.counts(now)
        return min(range(self.learners), key=lambda rank: (counts[rank], self._needs.free_slots.get(rank) == 0, rank))

    def _counts(self, known: _Simulator, now: float) -> bool:
        return known.there and (known.seen or now - known.heard_at < UNSEEN_SECONDS)

    def _to_help(self, now: float) -> list[Rank]:
        under_way = {
            rank for rank, help_sent in self._under_way.items() if now - help_sent.sent_at < self.patience_seconds
        }
        return [rank for rank in self._needs.overdue(now, self.patience_seconds) if rank not in under_way]

    def _sent(self, known: _Simulator, rank: Rank, now: float) -> Place:
        self._under_way[rank] = _Help(sent_at=now, free_slots=self._needs.free_slots[rank])
        known.helped_at = now
        return Place(rank=rank, guest=known.home != rank)

    def _hear(self, names: frozenset[str], now: float) -> None:
        for name, known in [*self._simulators.items()]:
            if name in names:
                known.heard_at, known.seen, known.there = now, True, True
            elif known.seen:
                known.there = False
            if now - known.heard_at >= self.forget_seconds:
                del self._simulators[name]


def expected_at(rank: Rank, *, simulators: int, learners: int) -> int:
    """How many of a job's simulators will be at home with a learner, once all have come."""
    return max(1, simulators // learners + (rank < simulators % learners))
