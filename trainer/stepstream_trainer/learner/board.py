"""What the learners of one job tell one another beside their gradients: a key-value store that rank 0 hosts.

They meet first (meeting.py). From then on these keys are used:

    alive/<r>         counts up each second; "left" once that learner has closed its board
    arrived/<n>/<r>   its n-th arrival: at which point, and whether with a flag
    value/<name>  need/<r>  stop

Where rank 0 or its machine ends, the connection breaks; where another does, it stops counting. Whatever the cause, who
waits here for the others learns of it within LOST_SECONDS.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from stepstream_trainer.learner.homes import Need
from stepstream_trainer.learner.meeting import (
    BoardError,
    CannotHostError,
    LearnersDifferError,
    Meeting,
    Pause,
    RankLostError,
    RanksMissingError,
    keys,
)
from stepstream_trainer.learner.store_client import StoreClient, StoreGoneError, StoreSilentError

if TYPE_CHECKING:
    from torch.distributed import Store

__all__ = ["Board", "BoardError", "CannotHostError", "RankLostError", "RanksMissingError"]

ARRIVAL_SECONDS: Final = 600.0
"""How long learners wait for one another at the beginning: nodes may have to be added, and images pulled."""

LOST_SECONDS: Final = 30.0
"""A learner that was silent for so long is lost. Its counting has a thread of its own, whatever the others compute."""

_LEAVE_SECONDS: Final = 5.0
_FIRST_POLL_SECONDS: Final = 0.001
_LAST_POLL_SECONDS: Final = 0.02
_LEFT: Final = b"left"

_T = TypeVar("_T")


class Board:
    """Of one learner. Any thread may use it, but `arrive` is one thread's."""

    def __init__(self, client: StoreClient, *, rank: int, world_size: int, lost_seconds: float, store: Store) -> None:
        """See `open`."""
        self.store = store
        """For torch's process groups: a connection of their own."""
        self._client = client
        self._rank = rank
        self._world_size = world_size
        self._lost_seconds = lost_seconds
        self._lost: RankLostError | None = None
        self._heard: dict[int, tuple[bytes, float]] = {}
        self._arrivals = 0
        self._needs: dict[int, tuple[bytes, Need]] = {}
        self._own_need = threading.Lock()
        self._need = b""
        self._need_told = b""
        self._stop = self._leaving = False
        client.beat_with(self._beat)

    @classmethod
    def open(
        cls,
        rank: int,
        world_size: int,
        address: str,
        pause: Pause,
        *,
        arrival_seconds: float = ARRIVAL_SECONDS,
        lost_seconds: float = LOST_SECONDS,
    ) -> Board:
        """Meet the other learners at rank 0's `address`, "host:port". Its name need not be known yet.

        Raises RanksMissingError, CannotHostError, and whatever `pause` raises.
        """
        client, store = Meeting(
            rank=rank,
            world_size=world_size,
            address=address,
            pause=pause,
            arrival_seconds=arrival_seconds,
            silence_seconds=lost_seconds,
        ).meet()
        return cls(client, rank=rank, world_size=world_size, lost_seconds=lost_seconds, store=store)

    def arrive(self, point: str, *, flag: bool = False, pause: Pause) -> bool:
        """Wait until all learners are at this point; whether any came with its flag set: the same answer for all.

        All learners must come to the same points in the same order. A call that `pause` breaks off has arrived all the
        same. Raises RankLostError, LearnersDifferError, and whatever `pause` raises.
        """
        number, self._arrivals = self._arrivals, self._arrivals + 1
        theirs = keys(f"arrived/{number}", range(self._world_size))
        own = theirs[self._rank]
        self._ask(lambda store: store.set(own, f"{int(flag)}{point}"), pause)
        self._wait_for(theirs, pause)
        said = [value.decode() for value in self._ask(lambda store: store.multi_get(theirs), pause)]
        if {each[1:] for each in said} != {point}:
            raise LearnersDifferError(f"learners are at different points: {', '.join(each[1:] for each in said)}")
        if number > 0:  # whoever is here has read the answer of the point before
            self._client.tell(lambda store: store.delete_key(f"arrived/{number - 1}/{self._rank}"))
        return any(each[0] == "1" for each in said)

    def put(self, name: str, value: bytes) -> None:
        """Raises RankLostError."""
        self._ask(lambda store: store.set(f"value/{name}", value), _go_on)  # type: ignore[arg-type]  # bytes are fine

    def get(self, name: str, pause: Pause) -> bytes:
        """The value, once somebody has put it. Raises RankLostError, and whatever `pause` raises."""
        key = f"value/{name}"
        self._wait_for([key], pause)
        return self._ask(lambda store: store.get(key), pause)

    def discard(self, name: str) -> None:
        """Nobody needs the value any more."""
        self._client.tell(lambda store: store.delete_key(f"value/{name}"))

    def ask_to_stop(self) -> None:
        """Let all learners know, within about two seconds, that one was asked to stop."""
        self._stop = True
        self._client.tell(lambda store: store.set("stop", "1"))

    def stop_asked(self) -> bool:
        """Costs nothing."""
        return self._stop

    def tell_need(self, need: Need) -> None:
        """What the others hear within about two seconds. Costs little."""
        said = json.dumps({"freeSlots": need.free_slots, "simulators": sorted(need.simulators)}).encode()
        with self._own_need:
            self._need = said

    def needs(self) -> Mapping[int, Need]:
        """Rank -> what it told last; those who told nothing yet are missing. Costs nothing."""
        return {rank: need for rank, (_, need) in [*self._needs.items()]}

    def check(self) -> None:
        """Raises RankLostError where a learner is known to be lost, or has left. Costs nothing."""
        self._check_client()
        if self._lost is not None:
            raise self._lost

    def close(self) -> None:
        """Leave. Rank 0 waits some seconds for the others to leave, since the store ends with it."""
        self._leaving = True
        self._client.tell(lambda store: store.set(f"alive/{self._rank}", _LEFT))  # type: ignore[arg-type]
        if self._rank == 0:
            self._see_others_off()
        self._client.close()

    def _see_others_off(self) -> None:
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        deadline = time.monotonic() + _LEAVE_SECONDS
        while time.monotonic() < deadline and any(self._heard.get(rank, (b"", 0.0))[0] != _LEFT for rank in others):
            try:
                self._check_client()
            except RankLostError:
                return
            time.sleep(_LAST_POLL_SECONDS)

    def _beat(self, store: Store) -> None:
        """In the client's thread."""
        if not self._leaving:
            store.add(f"alive/{self._rank}", 1)
        with self._own_need:
            said = self._need
        if said != self._need_told:
            store.set(f"need/{self._rank}", said)  # type: ignore[arg-type]
            self._need_told = said
        ranks = range(self._world_size)
        values = store.multi_get(["stop", "successor", *keys("alive", ranks), *keys("need", ranks)])
        stop, successor, *rest = values
        self._stop = self._stop or stop == b"1"
        if successor and self._lost is None:
            self._lost = RankLostError(f"learner {int(successor)} was started anew")
        self._hear(rest[: self._world_size])
        self._read_needs(rest[self._world_size :])

    def _hear(self, counts: list[bytes]) -> None:
        now = time.monotonic()
        for rank, count in enumerate(counts):
            before, since = self._heard.get(rank, (b"", now))
            if count != before:
                self._heard[rank] = count, now
            if rank == self._rank or self._lost is not None:
                continue
            if count == _LEFT:
                self._lost = RankLostError(f"learner {rank} has left")
            elif count == before and now - since > self._lost_seconds:
                self._lost = RankLostError(f"learner {rank} has been silent for {self._lost_seconds:g} s")

    def _read_needs(self, values: list[bytes]) -> None:
        for rank, said in enumerate(values):
            if said and self._needs.get(rank, (b"",))[0] != said:
                read = json.loads(said)
                need = Need(free_slots=read["freeSlots"], simulators=frozenset(read["simulators"]))
                self._needs[rank] = said, need

    def _wait_for(self, names: list[str], pause: Pause) -> None:
        seconds = _FIRST_POLL_SECONDS
        while True:
            lost = self._lost  # read first: one that left had written before what it owed
            if self._ask(lambda store: store.check(names), pause):
                return
            if lost is not None:
                raise lost
            pause()
            time.sleep(seconds)
            seconds = min(_LAST_POLL_SECONDS, 1.5 * seconds)

    def _ask(self, work: Callable[[Store], _T], pause: Pause) -> _T:
        try:
            return self._client.ask(work, pause)
        except (StoreGoneError, StoreSilentError) as error:
            raise self._lost_host(error) from None

    def _check_client(self) -> None:
        try:
            self._client.check()
        except (StoreGoneError, StoreSilentError) as error:
            raise self._lost_host(error) from None

    def _lost_host(self, error: Exception) -> RankLostError:
        if isinstance(error, StoreSilentError):
            return RankLostError(f"the learner of rank 0 has been silent for {self._lost_seconds:g} s")
        return RankLostError("the learner of rank 0 is gone")


def _go_on() -> None:
    """Nothing breaks this waiting off."""
