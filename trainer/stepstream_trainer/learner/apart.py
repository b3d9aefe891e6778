"""The learners of a job in mode Async: each at its own pace, by the parameters that all share (A3C, APPO).

rank 0      keeps the store, counts for all, decides, saves; it learns like the others, and waits for nobody
the others  push to it and count with it. They may come and go; each is told when the job is done
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.checkpoint import State
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.gathering import Interrupted
from stepstream_trainer.learner.ledger import Ledger, Totals
from stepstream_trainer.learner.ranks import News, Order, WaitUntil


class Shared(Protocol):
    """What the learners share, as one of them reaches it."""

    def pull(self) -> None:
        """Bring this learner's parameters up to date."""

    def account(self, *, steps: int, updates: int, news: News | None = None) -> Totals:
        """Tell what this learner has done; gives what all have."""

    def done(self) -> bool:
        """Whether the job is known to be."""


class _Apart:
    """What is the same for all ranks."""

    apart = True

    def __init__(self, shared: Shared, *, max_policy_lag: int) -> None:
        self._shared = shared
        self._max_policy_lag = max_policy_lag

    @property
    def over(self) -> bool:
        return self._shared.done()

    def begin_alike(self, position: Position, digest: Callable[[], str]) -> None:
        self._shared.pull()
        self._stand(position, self._shared.account(steps=0, updates=0))

    def collected(self, *, stop: bool) -> None:
        if stop:
            raise Interrupted

    def made(self, position: Position, *, steps: int) -> None:
        """A learner that is too far behind the others pulls before it learns."""
        known, totals = position.updates, self._shared.account(steps=steps, updates=0)
        if totals.updates - known > self._max_policy_lag:
            self._shared.pull()
        self._stand(position, totals)

    def updated(self, position: Position, *, updates: int) -> None:
        self._stand(position, self._shared.account(steps=0, updates=updates))

    @staticmethod
    def _stand(position: Position, totals: Totals) -> None:
        position.steps, position.updates = totals.steps, totals.updates


class Host(_Apart):
    """Rank 0."""

    rank = 0

    def __init__(self, ledger: Ledger[Any], pull: Callable[[], None], *, max_policy_lag: int) -> None:
        """`pull` brings rank 0's own network up to date."""
        super().__init__(_OwnStore(ledger, pull), max_policy_lag=max_policy_lag)
        self._ledger = ledger

    def begin(self, states: Sequence[State] | None) -> State | None:
        return states[0] if states else None

    def agree(self, decide: Callable[[Sequence[News]], Order], news: News) -> Order:
        order = decide(self._ledger.take_news())
        if order.done:
            self._ledger.enough()
        return order

    def gather(self, state: State) -> Sequence[State]:
        """What the others' slots do is not kept: they begin new episodes when the job goes on."""
        return (state,)

    def end(self, wait_until: WaitUntil) -> None:
        self._ledger.finish()


class Visitor(_Apart):
    """Any other rank. Raises RankLostError from every method."""

    def __init__(self, shared: Shared, *, rank: int, max_policy_lag: int) -> None:
        super().__init__(shared, max_policy_lag=max_policy_lag)
        self.rank = rank

    def begin(self, states: Sequence[State] | None) -> State | None:
        """It learns how far the job is from the store."""
        return None

    def agree(self, decide: Callable[[Sequence[News]], Order], news: News) -> Order:
        done = self._shared.account(steps=0, updates=0, news=news).enough
        return Order(done=done, save=False, mode=Mode.Async, calibrating=False, total_steps=None)

    def gather(self, state: State) -> Sequence[State]:
        return ()

    def end(self, wait_until: WaitUntil) -> None:
        wait_until(self._shared.done)


class _OwnStore:
    """As rank 0 reaches it."""

    def __init__(self, ledger: Ledger[Any], pull: Callable[[], None]) -> None:
        self.account = ledger.account
        self.done = ledger.done
        self.pull = pull
