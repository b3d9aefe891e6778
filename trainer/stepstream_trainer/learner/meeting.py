"""How the learners of one job find one another: rank 0 hosts a key-value store, the others dial it until all are there.

    hosted       rank 0 has prepared the store
    life/<r>     the learner of rank r is here: a token, new in each of its lives
    opened       rank 0: all are here. The tokens of those who met
    successor    a rank whose learner came after that: those who met must part, and meet anew with it

A learner that comes too late says so, and dials on until it meets a rank 0 that waits for it.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from stepstream_trainer.learner.store_client import StoreClient, StoreGoneError, StoreSilentError
from stepstream_trainer.logs import get_log

if TYPE_CHECKING:
    from torch.distributed import Store

_log = get_log("meeting")

STORE_SECONDS: Final = 60.0
"""What torch's own collectives wait for an answer of the store."""

_HOST_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_REST_SECONDS: Final = 1.0
"""Between attempts to meet another rank 0 than the one that met others."""

Pause = Callable[[], None]
"""Called a few times a second while something is waited for; may raise to break the waiting off."""

_T = TypeVar("_T")


class BoardError(Exception):
    """The learners of a job cannot go on together; one sentence for a person."""


class CannotHostError(BoardError):
    """Rank 0 cannot listen."""


class RanksMissingError(BoardError):
    """Not all learners came."""


class RankLostError(BoardError):
    """A learner that was there is not any more."""


class LearnersDifferError(BoardError):
    """Learners that should be at one point are not."""


class _TooLateError(Exception):
    """Those who met here met an earlier life of this learner."""


@dataclass(kw_only=True, slots=True)
class Meeting:
    """One learner's way to the others. `address` is rank 0's."""

    rank: int
    world_size: int
    address: str
    pause: Pause
    arrival_seconds: float
    silence_seconds: float
    missing: list[int] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def meet(self) -> tuple[StoreClient, Store]:
        """Once all are there: a client of the store, and another connection to it.

        Raises RanksMissingError, CannotHostError, and whatever `pause` raises.
        """
        while True:
            self.missing = [rank for rank in range(self.world_size) if rank != self.rank]
            client = StoreClient(self._connect, silence_seconds=self.silence_seconds)
            try:
                client.start()
                store = self._meet(client)
            except (_TooLateError, StoreGoneError, StoreSilentError) as error:
                client.close()
                _log.info("meeting_again", reason=type(error).__name__)
                self._rest()
            except BaseException:
                client.close()
                raise
            else:
                return client, store

    def _meet(self, client: StoreClient) -> Store:
        self._wait(lambda: _is_connected(client))
        token = secrets.token_hex(8)
        if self.rank == 0:
            self._ask(client, lambda store: _prepare(store, self.world_size))
        else:
            self._await(client, "hosted")
        self._ask(client, lambda store: store.set(f"life/{self.rank}", token))
        if self.rank == 0:
            self._await_all(client)
            self._ask(client, self._open)
        self._await_all(client)
        self._await(client, "opened")
        tokens = json.loads(self._ask(client, lambda store: store.get("opened")))
        if tokens[self.rank] != token:
            self._ask(client, lambda store: store.set("successor", str(self.rank)))
            raise _TooLateError
        try:
            store = self._ask(client, lambda store: self._dial())
        except OSError as error:
            raise StoreGoneError from error
        store.set_timeout(timedelta(seconds=STORE_SECONDS))
        return store

    def _open(self, store: Store) -> None:
        tokens = store.multi_get(keys("life", range(self.world_size)))
        store.set("opened", json.dumps([token.decode() for token in tokens]))

    def _await_all(self, client: StoreClient) -> None:
        def all_here(store: Store) -> bool:
            self.missing = [rank for rank in self.missing if not store.check([f"life/{rank}"])]
            return not self.missing

        self._wait(lambda: self._ask(client, all_here))

    def _await(self, client: StoreClient, key: str) -> None:
        self._wait(lambda: self._ask(client, lambda store: store.check([key])))

    def _ask(self, client: StoreClient, work: Callable[[Store], _T]) -> _T:
        return client.ask(work, self._go_on_waiting)

    def _rest(self) -> None:
        ends = time.monotonic() + _REST_SECONDS
        self._wait(lambda: time.monotonic() >= ends)

    def _wait(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._go_on_waiting()
            time.sleep(_POLL_SECONDS)

    def _go_on_waiting(self) -> None:
        self.pause()
        if time.monotonic() - self._began > self.arrival_seconds:
            raise RanksMissingError(self._who_is_missing())

    def _who_is_missing(self) -> str:
        if len(self.missing) == 1 or 0 in self.missing:  # who cannot reach rank 0 knows of nobody
            who = f"learner {min(self.missing)} of {self.world_size}"
        else:
            who = f"learners {', '.join(map(str, self.missing))} of {self.world_size}"
        return f"{who} did not come within {self.arrival_seconds:g} s"

    # In the client's thread.

    def _connect(self) -> Store:
        """Raises OSError while nobody listens."""
        store = self._host() if self.rank == 0 else self._dial()
        store.set_timeout(timedelta(seconds=2 * self.silence_seconds))  # whoever waits for an answer gives up before
        return store

    def _host(self) -> Store:
        """Raises CannotHostError."""
        from torch.distributed import TCPStore  # takes seconds, and a lone learner needs none of it

        port, deadline = self._port, time.monotonic() + _HOST_SECONDS
        while True:
            try:
                listener = _listener(self._host_name, port)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise CannotHostError(f"cannot listen on {self.address}: {error.strerror or error}") from error
                time.sleep(_POLL_SECONDS)
        seconds = timedelta(seconds=_CONNECT_SECONDS)
        host, descriptor = _own_name(self._host_name), listener.detach()
        return TCPStore(
            host, port, is_master=True, timeout=seconds, wait_for_workers=False, master_listen_fd=descriptor
        )

    def _dial(self) -> Store:
        """Raises OSError. Knocks first: torch would say in many lines that nobody is at home."""
        from torch.distributed import TCPStore

        host = _own_name(self._host_name) if self.rank == 0 else self._host_name
        socket.create_connection((host, self._port), timeout=_CONNECT_SECONDS).close()
        try:
            return TCPStore(
                host,
                self._port,
                is_master=False,
                timeout=timedelta(seconds=_CONNECT_SECONDS),
                wait_for_workers=False,
            )
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error

    @property
    def _host_name(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def _port(self) -> int:
        return int(self.address.rpartition(":")[2])


def _is_connected(client: StoreClient) -> bool:
    client.check()
    return client.connected.is_set()


def keys(name: str, ranks: Iterable[int]) -> list[str]:
    return [f"{name}/{rank}" for rank in ranks]


def _prepare(store: Store, world_size: int) -> None:
    """Everything that is read without asking whether it is there."""
    store.set("stop", "0")
    store.set("successor", "")
    for rank in range(world_size):
        store.set(f"alive/{rank}", "0")
        store.set(f"need/{rank}", "")
    store.set("hosted", "1")


def _listener(host: str, port: int) -> socket.socket:
    """On the loopback interface alone where the others are told to come there."""
    if is_loopback(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _own_name(host: str) -> str:
    """How rank 0 calls itself: its host name may not be known yet."""
    return host if is_loopback(host) else "localhost"


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
