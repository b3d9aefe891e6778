"""The other learners' end of store.proto: one stream to rank 0, which has the parameters of a job in mode Async.

A message out, the answer in: the loop's pushes, and once a second the need that this learner tells, take turns. When
the stream breaks, rank 0 is gone, and with it what this learner worked for: it ends, to be started again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import torch

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import store_pb2 as pb
from stepstream_protos.v1 import store_pb2_grpc
from stepstream_trainer.algorithms.descent import Rule
from stepstream_trainer.algorithms.flat import FlatParameters
from stepstream_trainer.channel import CHANNEL_OPTIONS
from stepstream_trainer.learner import mailbox
from stepstream_trainer.learner.homes import Need, Rank
from stepstream_trainer.learner.ledger import Totals
from stepstream_trainer.learner.meeting import BoardError, Pause, RankLostError, RanksMissingError
from stepstream_trainer.learner.messages import need_message, read_need
from stepstream_trainer.learner.ranks import News
from stepstream_trainer.logs import get_log
from stepstream_trainer.tls import channel_credentials, channel_options

_log = get_log("store")

TELL_SECONDS: Final = 1.0
DIAL_AGAIN_SECONDS: Final = 0.5

_REFUSALS: Final = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
}
"""What the store will say again, however often it is asked."""


class StoreRefusedError(BoardError):
    """The store will never serve this learner; its sentence."""


class StoreLink:
    """Of one learner. `push`, `pull` and `account` are the loop's thread's, the others any thread's."""

    def __init__(self, *, job: str, attempt: int, rank: Rank, pushed: Callable[[float], None] = lambda _: None) -> None:
        """`pushed` is told the seconds of each push."""
        self._pushed = pushed
        self._join = pb.Join(protocol_version=PROTOCOL_VERSION, job=job, attempt=attempt, rank=rank)
        self._rank = rank
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[pb.StoreRequest | None] = queue.SimpleQueue()
        self._channel: grpc.Channel | None = None
        self._replies: Any = None
        self._lost: BoardError | None = None
        self._closing = threading.Event()
        self._done = False
        self._need = Need(free_slots=0)
        self._needs: Mapping[Rank, Need] = {}
        self._flat: FlatParameters | None = None
        self._shared = False
        self._values = torch.empty(0)

    def dial(self, address: str, tls_directory: Path | None, pause: Pause, *, arrival_seconds: float) -> None:
        """Join the store at rank 0's `address`, "host:port". Its name need not be known yet.

        Raises RanksMissingError, StoreRefusedError, and whatever `pause` raises.
        """
        deadline = time.monotonic() + arrival_seconds
        while not self._joined(address, tls_directory):
            if time.monotonic() > deadline:
                raise RanksMissingError(f"the learner of rank 0 did not come within {arrival_seconds:g} s")
            pause()
            time.sleep(DIAL_AGAIN_SECONDS)
        threading.Thread(target=self._tell_for_ever, name="needs", daemon=True).start()

    def attach(self, flat: FlatParameters, rule: Rule) -> None:
        """The rule is the store's business. Raises RankLostError, StoreRefusedError."""
        del rule
        self._flat, size = flat, len(flat.values)
        made = mailbox.make(size)
        request = pb.Attach(num_parameters=size, shared_memory=made[1] if made else "")
        try:
            self._shared = self._ask(pb.StoreRequest(attach=request)).attached.shared
        finally:
            if made:
                mailbox.forget(made[1])
        self._values = made[0].values if made and self._shared else torch.empty(size)
        _log.info("store", parameters=size, by="shared memory" if self._shared else "wire")

    @torch.no_grad()
    def push(self, learning_rate: float) -> None:
        """Raises RankLostError."""
        assert self._flat is not None
        started = time.perf_counter()
        if self._shared:
            self._values.copy_(self._flat.gradients)
            gradient = b""
        else:
            gradient = self._flat.gradients.cpu().numpy().tobytes()
        self._take(self._ask(pb.StoreRequest(push=pb.Push(learning_rate=learning_rate, gradient=gradient))))
        self._pushed(time.perf_counter() - started)

    def pull(self) -> None:
        """Raises RankLostError."""
        self._take(self._ask(pb.StoreRequest(pull=pb.Pull())))

    def account(self, *, steps: int, updates: int, news: News | None = None) -> Totals:
        """Tell what this learner has done; gives what all have. Raises RankLostError."""
        episodes = _episodes(news) if news is not None else []
        request = pb.Account(steps=steps, updates=updates, episodes=episodes)
        totals = self._ask(pb.StoreRequest(account=request)).totals
        self._done = self._done or totals.done
        return Totals(steps=totals.steps, updates=totals.updates, enough=totals.enough, done=totals.done)

    def done(self) -> bool:
        """Whether the job is known to be. Costs nothing."""
        return self._done

    def check(self) -> None:
        """Raises RankLostError where rank 0 is known to be gone. Costs nothing."""
        if self._lost is not None:
            raise self._lost

    def tell_need(self, need: Need) -> None:
        """What the others hear within about two seconds. Costs nothing."""
        self._need = need

    def needs(self) -> Mapping[Rank, Need]:
        return self._needs

    def state_dict(self) -> dict[str, Any]:
        """Rank 0 keeps it."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Rank 0 does."""

    def close(self) -> None:
        self._closing.set()
        self._outbox.put(None)
        if self._channel is not None:
            self._channel.close()

    def _joined(self, address: str, tls_directory: Path | None) -> bool:
        """Whether somebody is at home. Raises StoreRefusedError."""
        target = f"dns:///{address}"
        options = (*CHANNEL_OPTIONS, *(channel_options() if tls_directory else ()))
        if tls_directory is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, channel_credentials(tls_directory), options)
        self._outbox = queue.SimpleQueue()
        stub = store_pb2_grpc.ParameterStoreStub(self._channel)  # type: ignore[no-untyped-call]
        self._replies = stub.Serve(iter(self._outbox.get, None))
        try:
            self._exchange(pb.StoreRequest(join=self._join))
        except grpc.RpcError as error:
            self._outbox.put(None)
            self._channel.close()
            _raise_if_refused(error)
            return False
        return True

    def _exchange(self, request: pb.StoreRequest) -> pb.StoreReply:
        """Raises grpc.RpcError."""
        self._outbox.put(request)
        reply: pb.StoreReply = next(self._replies)
        return reply

    def _ask(self, request: pb.StoreRequest) -> pb.StoreReply:
        """Raises RankLostError, StoreRefusedError."""
        with self._lock:
            self.check()
            try:
                return self._exchange(request)
            except (grpc.RpcError, StopIteration) as error:
                if isinstance(error, grpc.RpcError):
                    _raise_if_refused(error)
                self._lost = RankLostError("the learner of rank 0 is gone, and the parameter store with it")
                raise self._lost from error

    @torch.no_grad()
    def _take(self, reply: pb.StoreReply) -> None:
        assert self._flat is not None
        if not self._shared:
            self._values.numpy()[:] = np.frombuffer(reply.parameters.values, np.float32)
        self._flat.values.copy_(self._values)

    def _tell_for_ever(self) -> None:
        while not self._closing.wait(TELL_SECONDS):
            need = need_message(self._rank, self._need)
            try:
                told = self._ask(pb.StoreRequest(tell=pb.Tell(need=need))).told
            except BoardError:
                return
            self._done = self._done or told.done
            self._needs = {each.rank: read_need(each) for each in told.needs}


def _episodes(news: News) -> Sequence[pb.Episode]:
    return [
        pb.Episode(episode_return=episode_return, length=length)
        for episode_return, length in zip(news.returns, news.lengths, strict=True)
    ]


def _raise_if_refused(error: grpc.RpcError) -> None:
    if isinstance(error, grpc.Call) and error.code() in _REFUSALS:
        raise StoreRefusedError(f"the parameter store refused this learner: {error.details()}") from error
