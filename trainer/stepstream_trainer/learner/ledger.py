"""What the learners of a job in mode Async have done together, as rank 0 keeps it: steps, updates, episodes, needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stepstream_trainer.learner.homes import Need, Rank
from stepstream_trainer.learner.ranks import News

Life = TypeVar("Life")
"""What a learner's presence is told by, such as its stream."""

NOBODY_IN_NEED = Need(free_slots=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Of the whole job."""

    steps: int
    updates: int
    enough: bool
    """Rank 0 has decided that no more are to be made; what the job was for may still have to be kept."""
    done: bool


class Ledger(Generic[Life]):
    """Any thread. It is the board of rank 0's homing, too."""

    def __init__(self, came_or_went: Callable[[int], None] = lambda _: None) -> None:
        """`came_or_went` is told how many learners are here now, rank 0 included."""
        self._came_or_went = came_or_went
        self._came_or_went(1)
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._steps = self._updates = 0
        self._enough = self._done = False
        self._news: list[News] = []
        self._needs: dict[Rank, Need] = {}
        self._here: dict[Rank, Life] = {}
        self._know: set[Rank] = set()
        """Who has heard that the job is done."""

    def go_on_from(self, *, steps: int, updates: int) -> None:
        """Of a checkpoint."""
        with self._lock:
            self._steps, self._updates = steps, updates

    def account(self, *, steps: int, updates: int, news: News | None = None) -> Totals:
        """A learner made so many more. Gives what all have made."""
        with self._lock:
            self._steps += steps
            self._updates += updates
            if news is not None and news.returns:
                self._news.append(news)
            return Totals(steps=self._steps, updates=self._updates, enough=self._enough, done=self._done)

    def take_news(self) -> Sequence[News]:
        """Episodes that other learners told of since this was last called."""
        with self._lock:
            news, self._news = self._news, []
            return news

    def enough(self) -> None:
        """Whoever tells what it has done hears from now on that it is to make no more."""
        with self._lock:
            self._enough = True

    def finish(self) -> None:
        """Whoever asks from now on hears that the job is done."""
        with self._lock:
            self._enough = self._done = True

    def done(self) -> bool:
        return self._done

    def arrived(self, rank: Rank, life: Life) -> Life | None:
        """A learner is here, in a life of its own. Gives the earlier one that is still here."""
        with self._lock:
            earlier, self._here[rank] = self._here.get(rank), life
            self._came_or_went(1 + len(self._here))
            return earlier

    def left(self, rank: Rank, life: Life) -> None:
        """It is not any more, unless a later life of it is: then nobody need be sent to it."""
        with self._lock:
            if self._here.get(rank) is life:
                del self._here[rank]
                self._needs[rank] = NOBODY_IN_NEED
                self._came_or_went(1 + len(self._here))
                self._left.notify_all()

    def knows(self, rank: Rank) -> None:
        """It has just been told that the job is done."""
        with self._lock:
            self._know.add(rank)

    def wait_alone(self, others: Iterable[Rank], timeout_seconds: float) -> bool:
        """Whether all others have heard that the job is done, and left, within the time."""
        with self._lock:
            return self._left.wait_for(lambda: not self._here and self._know >= {*others}, timeout_seconds)

    def others_need(self, rank: Rank, need: Need) -> None:
        """What a learner that is here has told."""
        with self._lock:
            if rank in self._here:
                self._needs[rank] = need

    def tell_need(self, need: Need) -> None:
        """Rank 0's own."""
        with self._lock:
            self._needs[0] = need

    def needs(self) -> Mapping[Rank, Need]:
        with self._lock:
            return dict(self._needs)
