"""The learners of a job: what they agree on, and what rank 0 keeps for all. In mode Sync (`InStep`) they step together:

    every rank    collect ─┬─> all have collected, nobody is to stop ─> learn, by mean gradients ─> what rank 0 decides:
                           └─> somebody is to stop: all stop here                                   done | save | go on

Between the two lines nobody breaks off: who is asked to stop says so where all have collected and none has learned, so
that all stop behind the same update. What each learner's slots are doing goes to rank 0 when it saves, and comes back
from its checkpoint when the job goes on. Learners of a job in mode Async (apart.py) agree on nothing but its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.checkpoint import State, deserialise, serialise
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.gathering import Interrupted, Pause
from stepstream_trainer.learner.meeting import LearnersDifferError

if TYPE_CHECKING:
    from stepstream_trainer.learner.board import Board

WaitUntil = Callable[[Callable[[], bool]], None]
"""Comes back when what it is given holds. May raise Interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What all do after an iteration."""

    done: bool
    save: bool
    mode: Mode
    """Sync or Async: to collect in, from the next iteration on."""
    calibrating: bool
    """Whether that is because it is being measured."""
    total_steps: int | None
    """The job's budget, by which all count their progress; None where each learner goes by its own configuration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """Episodes that have ended since a learner last told of any: true returns, and lengths in steps."""

    returns: Sequence[float] = ()
    lengths: Sequence[int] = ()


class Ranks(Protocol):
    """Loop thread only; every learner makes the same calls in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def apart(self) -> bool:
        """Whether the others go at a pace of their own."""

    @property
    def over(self) -> bool:
        """Whether the job is known to be done, so that a learner that is interrupted has nothing left to do."""

    def begin(self, states: Sequence[State] | None) -> State | None:
        """Rank 0 gives every rank's state, or None for a fresh job; each gets its own."""

    def begin_alike(self, position: Position, digest: Callable[[], str]) -> None:
        """All learners begin with the same parameters, by their digest, and know how far the job is."""

    def collected(self, *, stop: bool) -> None:
        """This learner has its steps, or is to stop. Raises Interrupted on all, if any is to stop."""

    def made(self, position: Position, *, steps: int) -> None:
        """This learner learns from so many more steps: bring the job's counts up to date."""

    def updated(self, position: Position, *, updates: int) -> None:
        """It has made so many updates of them."""

    def agree(self, decide: Callable[[Sequence[News]], Order], news: News) -> Order:
        """Rank 0 hears the others' news and decides for all."""

    def gather(self, state: State) -> Sequence[State]:
        """Rank 0 gets every rank's, in their order; the others get none."""

    def end(self, wait_until: WaitUntil) -> None:
        """Rank 0 has kept what the job was for; the others return when it has. May raise what `wait_until` does."""


class OnlyLearner:
    """The only learner."""

    rank, apart, over = 0, False, False

    def begin(self, states: Sequence[State] | None) -> State | None:
        return states[0] if states else None

    def begin_alike(self, position: Position, digest: Callable[[], str]) -> None:
        pass

    def collected(self, *, stop: bool) -> None:
        if stop:
            raise Interrupted

    def made(self, position: Position, *, steps: int) -> None:
        position.steps += steps

    def updated(self, position: Position, *, updates: int) -> None:
        position.updates += updates

    def agree(self, decide: Callable[[Sequence[News]], Order], news: News) -> Order:
        return decide(())

    def gather(self, state: State) -> Sequence[State]:
        return (state,)

    def end(self, wait_until: WaitUntil) -> None:
        pass


class InStep:
    """One of several learners, by what they write on the board. Raises RankLostError from every method.

    And LearnersDifferError where they have not come the same way.
    """

    def __init__(self, board: Board, *, rank: int, size: int, tick: Pause) -> None:
        """`tick` is called while others are waited for; it must not raise."""
        self.rank, self.apart, self.over = rank, False, False
        self._size = size
        self._board = board
        self._tick = tick
        self._iteration = 0

    def begin(self, states: Sequence[State] | None) -> State | None:
        if self.rank == 0:
            for rank in range(1, self._size):
                self._board.put(f"begin/{rank}", serialise(states[rank]) if states else b"")
            return states[0] if states else None
        data = self._board.get(f"begin/{self.rank}", self._tick)
        self._board.discard(f"begin/{self.rank}")
        return deserialise(data) if data else None

    def begin_alike(self, position: Position, digest: Callable[[], str]) -> None:
        try:
            self._board.arrive(f"with parameters {digest()}", pause=self._tick)
        except LearnersDifferError as error:
            raise LearnersDifferError(
                "learners begin with parameters that differ, as unlike processors compute them: let them run on nodes "
                f"of one kind (spec.learners.template); {error}"
            ) from error

    def collected(self, *, stop: bool) -> None:
        if stop:
            self._board.ask_to_stop()
        if self._board.arrive(f"collected/{self._iteration}", flag=stop, pause=self._tick):
            raise Interrupted

    def made(self, position: Position, *, steps: int) -> None:
        position.steps += steps * self._size

    def updated(self, position: Position, *, updates: int) -> None:
        position.updates += updates  # which all have made together

    def agree(self, decide: Callable[[Sequence[News]], Order], news: News) -> Order:
        self._iteration += 1
        order = f"order/{self._iteration}"
        if self.rank == 0:
            decided = decide([self._news_of(rank) for rank in range(1, self._size)])
            self._board.put(order, json.dumps(asdict(decided)).encode())
            self._board.discard(f"order/{self._iteration - 1}")  # all have read it: they have told their news since
            return decided
        self._board.put(f"news/{self.rank}/{self._iteration}", json.dumps(asdict(news)).encode())
        said = json.loads(self._board.get(order, self._tick))
        return Order(**said | {"mode": Mode(said["mode"])})

    def gather(self, state: State) -> Sequence[State]:
        if self.rank:
            self._board.put(f"state/{self.rank}/{self._iteration}", serialise(state))
            return ()
        return (state, *(deserialise(self._take(f"state/{rank}/{self._iteration}")) for rank in range(1, self._size)))

    def end(self, wait_until: WaitUntil) -> None:
        self._board.arrive("end", pause=self._tick)

    def _news_of(self, rank: int) -> News:
        return News(**json.loads(self._take(f"news/{rank}/{self._iteration}")))

    def _take(self, name: str) -> bytes:
        data = self._board.get(name, self._tick)
        self._board.discard(name)
        return data
