"""Where the other learners of a job in mode Async reach the parameter store: rank 0's end of store.proto.

A learner has one stream and one thread here, which does what its messages ask: it steps the store by the gradient that
came, and answers with the parameters. Nobody waits for anybody, but for a chunk that is being stepped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from stepstream_trainer.channel import SERVER_OPTIONS
from stepstream_trainer.config import contract
from stepstream_trainer.learner import mailbox
from stepstream_trainer.learner.ledger import Ledger
from stepstream_trainer.learner.listening import listen
from stepstream_trainer.learner.meeting import is_loopback
from stepstream_trainer.learner.messages import RefusedError, need_message, read_need
from stepstream_trainer.learner.parameter_store import ParameterStore
from stepstream_trainer.learner.ranks import News
from stepstream_trainer.logs import get_log

_log = get_log("store")

StoreLedger = Ledger[grpc.ServicerContext]
"""Learners are here as long as their streams."""

FAREWELL_SECONDS: Final = 60.0
"""What the other learners get to hear that the job is done: they ask at each iteration, and once a second."""

_POLL_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 2.0


class HostedStore:
    """The store, as rank 0 has it, and the server that the others reach it by."""

    def __init__(
        self,
        ledger: StoreLedger,
        *,
        job: str,
        attempt: int,
        learners: int,
        pushed: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`pushed` is told the seconds of each push of rank 0's own."""
        self._pushed = pushed
        self._ledger = ledger
        self._store: ParameterStore | None = None
        self._flat: FlatParameters | None = None
        self._attached = threading.Event()
        self._ending = threading.Event()
        self._service = _Service(self, ledger, job=job, attempt=attempt, learners=learners)
        self._server: grpc.Server | None = None

    def listen(self, address: str, tls_directory: Path | None) -> None:
        """At "host:port"; of the host only whether it is this machine's loopback. Raises CannotListenError, OSError."""
        host, _, port = address.rpartition(":")
        own = address if is_loopback(host.strip("[]")) else f"[::]:{port}"
        server = grpc.server(ThreadPoolExecutor(2 * self._service.learners, "store"), options=SERVER_OPTIONS)
        store_pb2_grpc.add_ParameterStoreServicer_to_server(self._service, server)  # type: ignore[no-untyped-call]
        listen(server, own, tls_directory)
        server.start()
        self._server = server

    def attach(self, flat: FlatParameters, rule: Rule) -> None:
        """From now on the others can have the parameters, unless `load_state_dict` follows before `open`."""
        self._flat, self._store = flat, ParameterStore(flat.values, rule)

    def open(self) -> None:
        """The store stands where the job begins, or goes on."""
        self._attached.set()

    def push(self, learning_rate: float) -> None:
        started = time.perf_counter()
        store, flat = self._own()
        store.push(flat.gradients, learning_rate, flat.values)
        flat.changed()
        self._pushed(time.perf_counter() - started)

    def pull(self) -> None:
        store, flat = self._own()
        store.pull(flat.values)
        flat.changed()

    def state_dict(self) -> dict[str, Any]:
        store, flat = self._own()
        state = store.state_dict(flat.values)
        flat.changed()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        store, flat = self._own()
        store.load_state_dict(state, flat.values)

    def wait_store(self) -> ParameterStore | None:
        """Once it is open; None when this learner ends before. A stream's thread."""
        while not self._attached.wait(_POLL_SECONDS):
            if self._ending.is_set():
                return None
        return self._store

    def close(self) -> None:
        """Let the others hear that the job is done, if it is; then end their streams."""
        self._ending.set()
        if self._ledger.done() and not self._ledger.wait_alone(range(1, self._service.learners), FAREWELL_SECONDS):
            _log.warning("learners_left_behind")
        if self._server is not None:
            self._server.stop(_STOP_SECONDS).wait()

    def _own(self) -> tuple[ParameterStore, FlatParameters]:
        assert self._store is not None
        assert self._flat is not None
        return self._store, self._flat


class _Service(store_pb2_grpc.ParameterStoreServicer):
    """gRPC's entry; threads of streams."""

    def __init__(self, hosted: HostedStore, ledger: StoreLedger, *, job: str, attempt: int, learners: int) -> None:
        self._hosted = hosted
        self._ledger = ledger
        self._job = job
        self._attempt = attempt
        self.learners = learners

    def Serve(self, request_iterator: Iterator[pb.StoreRequest], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            refuse_stranger(context)
            yield from self._serve(request_iterator, context)
        except RefusedError as error:
            _log.warning("learner_refused", code=error.code.name, reason=str(error), peer=context.peer())
            context.abort(error.code, str(error))

    def _serve(self, requests: Iterator[pb.StoreRequest], context: grpc.ServicerContext) -> Iterator[pb.StoreReply]:
        first = next(requests, None)
        if first is None:
            return
        rank = self._read_join(first)
        earlier = self._ledger.arrived(rank, context)
        if earlier is not None:
            earlier.cancel()
        _log.info("learner_joined", rank=rank)
        visit = _Visit(rank, self._hosted, self._ledger)
        try:
            yield pb.StoreReply(joined=pb.Joined())
            yield from visit.serve(requests)
        finally:
            self._ledger.left(rank, context)
            _log.info("learner_left", rank=rank, steps=visit.steps, updates=visit.updates)

    def _read_join(self, message: pb.StoreRequest) -> int:
        join = message.join
        if message.WhichOneof("body") != "join":
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "a stream begins with Join")
        if join.protocol_version != PROTOCOL_VERSION:
            raise _mismatch(f"the store speaks protocol version {PROTOCOL_VERSION}, not {join.protocol_version}")
        if join.job != self._job:
            raise _mismatch(f"the store is of job {self._job}, not {join.job}")
        if join.attempt != self._attempt:  # an earlier or a later rank 0 may be what it looks for
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, f"the store is of attempt {self._attempt}")
        if not 0 < join.rank < self.learners:
            raise _mismatch(f"learners of ranks 1 to {self.learners - 1} share the store, not one of {join.rank}")
        return int(join.rank)


class _Visit:
    """One learner's stream, once it has joined."""

    def __init__(self, rank: int, hosted: HostedStore, ledger: StoreLedger) -> None:
        self.steps = self.updates = 0
        """What it has told of."""
        self._rank = rank
        self._hosted = hosted
        self._ledger = ledger
        self._store: ParameterStore | None = None
        self._shared = False
        self._values = torch.empty(0)

    def serve(self, requests: Iterator[pb.StoreRequest]) -> Iterator[pb.StoreReply]:
        for request in requests:
            reply = self._answer(request)
            if reply is None:
                return
            yield reply

    def _answer(self, request: pb.StoreRequest) -> pb.StoreReply | None:
        """None where this learner ends before there is anything to answer with. Raises RefusedError."""
        match request.WhichOneof("body"):
            case "push":
                return self._push(request.push)
            case "pull":
                self._attached().pull(self._values)
                return self._parameters()
            case "account":
                return self._account(request.account)
            case "tell":
                return self._told(request.tell.need)
            case "attach":
                return self._attach(request.attach)
            case _:
                raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "a learner joins once, and says something then")

    def _attach(self, attach: pb.Attach) -> pb.StoreReply | None:
        store = self._hosted.wait_store()
        if store is None:
            return None
        if attach.num_parameters != store.num_parameters:
            raise _mismatch(f"the store has {store.num_parameters} parameters, the learner {attach.num_parameters}")
        shared = mailbox.find(attach.shared_memory, store.num_parameters) if attach.shared_memory else None
        self._shared = shared is not None
        self._values = torch.zeros(store.num_parameters) if shared is None else shared.values
        self._store = store
        return pb.StoreReply(attached=pb.Attached(shared=self._shared))

    def _push(self, push: pb.Push) -> pb.StoreReply:
        store, gradients = self._attached(), self._values
        if not self._shared:
            if len(push.gradient) != 4 * store.num_parameters:
                raise RefusedError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"a gradient of {len(push.gradient)} bytes; there are {store.num_parameters} parameters",
                )
            gradients.numpy()[:] = np.frombuffer(push.gradient, np.float32)
        store.push(gradients, push.learning_rate, self._values)
        return self._parameters()

    def _parameters(self) -> pb.StoreReply:
        values = b"" if self._shared else self._values.numpy().tobytes()
        return pb.StoreReply(parameters=pb.Parameters(values=values))

    def _account(self, account: pb.Account) -> pb.StoreReply:
        news = News(
            returns=[each.episode_return for each in account.episodes],
            lengths=[each.length for each in account.episodes],
        )
        self.steps += account.steps
        self.updates += account.updates
        totals = self._ledger.account(steps=account.steps, updates=account.updates, news=news)
        if totals.done:
            self._ledger.knows(self._rank)
        told = pb.Totals(steps=totals.steps, updates=totals.updates, enough=totals.enough, done=totals.done)
        return pb.StoreReply(totals=told)

    def _told(self, need: pb.Need) -> pb.StoreReply:
        self._ledger.others_need(self._rank, read_need(need))
        needs = [need_message(rank, each) for rank, each in self._ledger.needs().items()]
        done = self._ledger.done()
        if done:
            self._ledger.knows(self._rank)
        return pb.StoreReply(told=pb.Told(needs=needs, done=done))

    def _attached(self) -> ParameterStore:
        if self._store is None:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "a learner attaches before it pushes or pulls")
        return self._store


def refuse_stranger(context: grpc.ServicerContext) -> None:
    """Raises RefusedError for whoever has a certificate of the job, but not a learner's; without TLS nobody has."""
    names = context.auth_context().get("x509_subject_alternative_name")
    if names is not None and contract.TLS_LEARNER.encode() not in names:
        raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, "the store is for the learners of this job")


def _mismatch(sentence: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.FAILED_PRECONDITION, sentence)
