"""Homes at work: what a learner of several tells the others of its need, and where it sends the offers that it gets.

Rank 0 decides (homes.py). The others keep whatever is sent to them. Where one of them learns that another has been in
need for long, it sends an offer that waits in vain back to rank 0, one a second, to be sent on from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from stepstream_trainer.learner.homes import Homes, Need, Needs, Offer, Place, Rank

ASK_AGAIN_SECONDS: Final = 1.0
"""Between offers that a learner sends back to rank 0: as often as needs are told."""

RANK_0: Final = Place(rank=0)


class Board(Protocol):
    """What learners tell one another of their needs; any thread. See board.py."""

    def tell_need(self, need: Need) -> None: ...

    def needs(self) -> Mapping[Rank, Need]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """An offer that has no lease yet."""

    simulator: str
    guest: bool


class Homing(Protocol):
    """Where the offers to one learner go. Any thread."""

    rank: Rank
    """The learner's own."""

    def place(self, simulator: str, *, guest: bool) -> Place:
        """Where an offer belongs that has just come; `guest` is what it said."""

    def moves(self, need: Need, waiting: Mapping[Offer, Waiting]) -> Mapping[Offer, Place]:
        """Which of the offers that wait here go elsewhere, given this learner's need. Asked a few times a second."""


class Hub:
    """Rank 0's."""

    rank: Rank = 0

    def __init__(self, board: Board, learners: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._homes = Homes(learners=learners)
        self._clock = clock
        self._lock = threading.Lock()

    def place(self, simulator: str, *, guest: bool) -> Place:
        with self._lock:
            return self._homes.place(simulator, self._clock())

    def moves(self, need: Need, waiting: Mapping[Offer, Waiting]) -> Mapping[Offer, Place]:
        self._board.tell_need(need)
        with self._lock:
            now = self._clock()
            self._homes.stand({**self._board.needs(), 0: need}, now)
            return self._homes.moves({offer: each.simulator for offer, each in waiting.items()}, now)


class Spoke:
    """Any other rank's. Only the thread that looks calls `moves`."""

    def __init__(self, board: Board, rank: Rank, clock: Callable[[], float] = time.monotonic) -> None:
        assert rank > 0
        self.rank = rank
        self._board = board
        self._needs = Needs()
        self._clock = clock
        self._sent_at = -ASK_AGAIN_SECONDS

    def place(self, simulator: str, *, guest: bool) -> Place:
        return Place(rank=self.rank, guest=guest)

    def moves(self, need: Need, waiting: Mapping[Offer, Waiting]) -> Mapping[Offer, Place]:
        self._board.tell_need(need)
        now = self._clock()
        for rank, other in self._board.needs().items():
            if rank != self.rank:
                self._needs.tell(rank, other.free_slots, now)
        if need.free_slots:
            return {}
        moved = {offer: RANK_0 for offer, each in waiting.items() if each.guest}
        others = [offer for offer, each in waiting.items() if not each.guest]
        if others and self._needs.overdue(now) and now - self._sent_at >= ASK_AGAIN_SECONDS:
            self._sent_at = now
            moved[others[0]] = RANK_0
        return moved


def homing(board: Board, *, rank: Rank, learners: int) -> Homing:
    """Of a learner of several."""
    return Hub(board, learners) if rank == 0 else Spoke(board, rank)
