"""How a learner stands to the others of its job: what it learns with, whom it asks, and what ends it.

Single      there are no others
InSync      mode Sync: a board to agree on (board.py), collectives to average gradients by (collective.py)
Hosting     mode Async, rank 0: the parameter store, and the ledger of what all have done
Visiting    mode Async, the other ranks: a link to that store
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from stepstream_trainer.algorithms.descent import SharedStore
from stepstream_trainer.algorithms.together import Alone, Together
from stepstream_trainer.learner.apart import Host, Visitor
from stepstream_trainer.learner.board import ARRIVAL_SECONDS, Board
from stepstream_trainer.learner.gathering import Pause
from stepstream_trainer.learner.homing import Homing, homing
from stepstream_trainer.learner.ranks import InStep, OnlyLearner, Ranks
from stepstream_trainer.learner.store_link import StoreLink
from stepstream_trainer.learner.store_service import HostedStore, StoreLedger


class Company(Protocol):
    """In the order of the calls; all but `stopping` and `over` are the main thread's."""

    def listen(self) -> None:
        """For the others. Raises CannotListenError, or OSError when a certificate cannot be read."""

    def meet(self, pause: Pause) -> Homing | None:
        """Find the others; gives where simulators' offers go. Raises BoardError, and whatever `pause` raises."""

    @property
    def store(self) -> SharedStore | None:
        """Whose parameters this learner shares with learners that step apart."""

    def together(self, device: torch.device) -> Together:
        """Those who step alike. Waits for them. Raises RankLostError."""

    def ranks(self, tick: Pause) -> Ranks:
        """`tick` is called while others are waited for."""

    def stand(self, *, steps: int, updates: int) -> None:
        """This learner has everything it begins with, or goes on from."""

    def stopping(self) -> bool:
        """Whether it is to stop because of the others. Any thread. Raises RankLostError."""

    @property
    def over(self) -> bool:
        """Whether that is because the job is done. Any thread."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Apartness:
    """What learners that share a store have agreed on."""

    job: str
    attempt: int
    learners: int
    rendezvous: str
    tls_directory: Path | None
    max_policy_lag: int


class StoreMetrics(Protocol):
    """What learners that share a store report; any thread."""

    def pushed(self, seconds: float) -> None: ...

    def share_the_store(self, learners: int) -> None: ...


class Single:
    """There are no others."""

    store = None
    over = False

    def listen(self) -> None: ...

    def meet(self, pause: Pause) -> None: ...

    def together(self, device: torch.device) -> Together:
        return Alone()

    def ranks(self, tick: Pause) -> Ranks:
        return OnlyLearner()

    def stand(self, *, steps: int, updates: int) -> None: ...

    def stopping(self) -> bool:
        return False

    def close(self) -> None: ...


class InSync:
    """They step together, and stop together."""

    store = None
    over = False

    def __init__(self, *, rank: int, size: int, rendezvous: str) -> None:
        self._rank = rank
        self._size = size
        self._rendezvous = rendezvous
        self._board: Board | None = None
        self._together: Together | None = None

    def listen(self) -> None:
        """Rank 0 does when all meet."""

    def meet(self, pause: Pause) -> Homing | None:
        self._board = Board.open(self._rank, self._size, self._rendezvous, pause)
        return homing(self._board, rank=self._rank, learners=self._size)

    def together(self, device: torch.device) -> Together:
        from stepstream_trainer.learner.collective import Collective  # torch.distributed, which others never need

        self._together = Collective(self._met, device, rank=self._rank, size=self._size)
        return self._together

    def ranks(self, tick: Pause) -> Ranks:
        return InStep(self._met, rank=self._rank, size=self._size, tick=tick)

    def stand(self, *, steps: int, updates: int) -> None: ...

    def stopping(self) -> bool:
        if self._board is None:
            return False
        self._board.check()
        return self._board.stop_asked()

    def close(self) -> None:
        if self._together is not None:
            self._together.close()
        if self._board is not None:
            self._board.close()

    @property
    def _met(self) -> Board:
        assert self._board is not None
        return self._board


class Hosting:
    """The others come and go."""

    over = False

    def __init__(self, agreed: Apartness, metrics: StoreMetrics) -> None:
        self._ledger = StoreLedger(metrics.share_the_store)
        self._agreed = agreed
        self.store = HostedStore(
            self._ledger, job=agreed.job, attempt=agreed.attempt, learners=agreed.learners, pushed=metrics.pushed
        )

    def listen(self) -> None:
        self.store.listen(self._agreed.rendezvous, self._agreed.tls_directory)

    def meet(self, pause: Pause) -> Homing | None:
        return homing(self._ledger, rank=0, learners=self._agreed.learners)

    def together(self, device: torch.device) -> Together:
        return Alone()

    def ranks(self, tick: Pause) -> Ranks:
        return Host(self._ledger, self.store.pull, max_policy_lag=self._agreed.max_policy_lag)

    def stand(self, *, steps: int, updates: int) -> None:
        self._ledger.go_on_from(steps=steps, updates=updates)
        self.store.open()

    def stopping(self) -> bool:
        return False

    def close(self) -> None:
        self.store.close()


class Visiting:
    """Rank 0 is needed; the rest come and go."""

    def __init__(self, agreed: Apartness, metrics: StoreMetrics, *, rank: int) -> None:
        self._agreed = agreed
        self._rank = rank
        self.store = StoreLink(job=agreed.job, attempt=agreed.attempt, rank=rank, pushed=metrics.pushed)

    @property
    def over(self) -> bool:
        return self.store.done()

    def listen(self) -> None: ...

    def meet(self, pause: Pause) -> Homing | None:
        agreed = self._agreed
        self.store.dial(agreed.rendezvous, agreed.tls_directory, pause, arrival_seconds=ARRIVAL_SECONDS)
        return homing(self.store, rank=self._rank, learners=agreed.learners)

    def together(self, device: torch.device) -> Together:
        return Alone()

    def ranks(self, tick: Pause) -> Ranks:
        return Visitor(self.store, rank=self._rank, max_policy_lag=self._agreed.max_policy_lag)

    def stand(self, *, steps: int, updates: int) -> None: ...

    def stopping(self) -> bool:
        self.store.check()
        return self.store.done()

    def close(self) -> None:
        self.store.close()
