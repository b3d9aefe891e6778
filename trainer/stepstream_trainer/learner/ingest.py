"""Where simulators' streams arrive: gRPC threads copy rows into slots and actions out of them, and do nothing else.

One thread serves one stream: it waits for a lease, then alternates reading rows and sending actions. So one message a
stream is under way at most, and a simulator waits for a slow learner instead of piling up messages.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc
import numpy as np

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_protos.v1 import stream_pb2_grpc
from stepstream_trainer.channel import MAX_MESSAGE_BYTES, SERVER_OPTIONS
from stepstream_trainer.config import TrainerConfig
from stepstream_trainer.learner.leases import Grant, LeaseTable, StaleIncarnationError
from stepstream_trainer.learner.slots import TRUNCATED, Lanes, ObservationLayout, Rows, Slots
from stepstream_trainer.logs import get_log
from stepstream_trainer.tls import server_credentials

_log = get_log("ingest")

MAX_RANK = 4
MAX_STREAMS = 1024
"""Simulators that may be connected at once, spare offers included; a thread each."""
POLL_SECONDS = 0.5
"""How often a waiting stream looks whether its peer is still there, and the lease table whether patience is over."""
STOP_SECONDS = 3.0
"""What streams get to tell their simulators that the job is over."""


class CannotServeError(Exception):
    """The address cannot be listened on; one sentence for a person."""


class StreamMetrics(Protocol):
    """What ingest reports; any thread."""

    def leases_stand(self, *, leased: int, free: int, streams: int) -> None: ...

    def stream_refused(self, reason: str) -> None: ...

    def replayed(self, steps: int) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """How the slots are served."""

    leased: int
    simulators: int


class RefusedError(Exception):
    """A stream that cannot be served: a gRPC status and a sentence for the simulator's log."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class StreamServer:
    """Takes simulators' streams at `address` ("host:port" or "unix:/path")."""

    def __init__(
        self,
        config: TrainerConfig,
        address: str,
        *,
        groups: int,
        tls_directory: Path | None,
        rank: int,
        metrics: StreamMetrics,
    ) -> None:
        """Raises CannotServeError when the address is taken."""
        num_slots = config.learner.environments
        self._config = config
        self._num_groups = groups
        self._rank = rank
        self._metrics = metrics
        size = num_slots // groups
        self._leases = LeaseTable(
            [range(group * size, (group + 1) * size) for group in range(groups)], expected=config.simulators.replicas
        )
        self._changed = threading.Condition()
        self._granted: dict[int, Grant] = {}
        self._numbers = itertools.count()
        self._open: set[int] = set()
        self._slots: Slots | None = None
        self._layout: ObservationLayout | None = None
        self._served = threading.Event()
        self._over = threading.Event()
        self._job_over = False
        self._server = grpc.server(ThreadPoolExecutor(MAX_STREAMS, "stream"), options=SERVER_OPTIONS)
        servicer = _Servicer(self)
        stream_pb2_grpc.add_SimulatorStreamServicer_to_server(servicer, self._server)  # type: ignore[no-untyped-call]
        self._listen(address, tls_directory)

    def start(self) -> None:
        self._server.start()

    def ready(self) -> str | None:
        """Nothing while streams are accepted, else why not. Any thread."""
        return "the learner is stopping" if self._over.is_set() else None

    def service(self) -> Service:
        """Any thread."""
        with self._changed:
            return Service(leased=self._leases.leased, simulators=self._leases.simulators)

    def slots(self, timeout_seconds: float) -> Slots | None:
        """The slots, made once the first simulator has said what its environment is like; None before."""
        with self._changed:
            self._changed.wait_for(lambda: self._slots is not None, timeout_seconds)
            return self._slots

    def serve_leases(self) -> None:
        """From now on offers are granted: the slots stand where a fresh or resumed job begins."""
        self._served.set()
        self._grant()

    def expect(self, simulators: int) -> None:
        """The job's number of simulators was changed."""
        with self._changed:
            self._leases.expected = simulators

    def stop(self, *, job_over: bool) -> None:
        """End every stream; tell the simulators to leave if the job is over, else they offer themselves again."""
        self._job_over = job_over
        self._over.set()
        if self._slots is not None:
            self._slots.close()
        with self._changed:
            self._changed.notify_all()
        self._server.stop(STOP_SECONDS).wait()

    def serve(
        self, messages: Iterator[pb.SimulatorMessage], is_alive: Callable[[], bool]
    ) -> Iterator[pb.LearnerMessage]:
        """One stream, from Hello to its end. Raises RefusedError. The stream's thread."""
        number = next(self._numbers)
        first = next(messages, None)
        if first is None:
            return
        self._check_hello(first)
        try:
            self._offer(number, first)
            yield pb.LearnerMessage(keep_offering=pb.KeepOffering())
            grant = self._await_grant(number, is_alive)
            if grant is not None:
                yield from self._serve_lease(number, grant, first, messages, is_alive)
            if self._over.is_set() and self._job_over:
                yield pb.LearnerMessage(job_over=pb.JobOver())
        finally:
            with self._changed:
                self._open.discard(number)
                self._granted.pop(number, None)
                self._leases.ended(number, time.monotonic())
            self._grant()

    def refused(self, error: RefusedError) -> None:
        self._metrics.stream_refused(error.code.name)
        _log.warning("stream_refused", code=error.code.name, reason=str(error))

    def _listen(self, address: str, tls_directory: Path | None) -> None:
        try:
            if tls_directory is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, server_credentials(tls_directory))
        except RuntimeError as error:
            raise CannotServeError(
                f"cannot listen on {address}: it is in use, or not an address of this host"
            ) from error
        if port == 0:
            raise CannotServeError(f"cannot listen on {address}: it is in use, or not an address of this host")

    def _check_hello(self, message: pb.SimulatorMessage) -> None:
        hello = message.hello
        if message.WhichOneof("body") != "hello" or message.sequence != 0 or not message.simulator:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be a Hello of sequence 0")
        if hello.protocol_version != PROTOCOL_VERSION:
            raise RefusedError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this learner speaks protocol version {PROTOCOL_VERSION}, the simulator {hello.protocol_version}; "
                "run both from the same release",
            )
        if hello.job != self._config.job:
            raise RefusedError(
                grpc.StatusCode.FAILED_PRECONDITION, f"this learner serves job {self._config.job}, not {hello.job}"
            )
        if hello.environment_digest != self._config.environment.digest():
            raise RefusedError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the simulator's environment is configured otherwise than the learner's",
            )
        self._agree(_layout_of(hello))

    def _agree(self, layout: ObservationLayout) -> None:
        """The first simulator's observations decide; all others' must be the same."""
        with self._changed:
            if self._layout is None:
                self._layout = layout
                self._slots = Slots(
                    self._config.environment,
                    layout,
                    num_slots=self._config.learner.environments,
                    groups=self._num_groups,
                    rank=self._rank,
                )
                self._changed.notify_all()
        if layout != self._layout:
            raise RefusedError(
                grpc.StatusCode.FAILED_PRECONDITION, f"observations of {layout}, but the job began with {self._layout}"
            )

    def _offer(self, number: int, message: pb.SimulatorMessage) -> None:
        with self._changed:
            try:
                outlived = self._leases.offer(number, message.simulator, message.incarnation, time.monotonic())
            except StaleIncarnationError as error:
                raise RefusedError(grpc.StatusCode.ABORTED, str(error)) from error
            self._open.add(number)
            self._open.difference_update(outlived)
        self._grant()

    def _grant(self) -> None:
        """Turn offers into leases, if the slots are ready to be served."""
        if not self._served.is_set():
            return
        with self._changed:
            for grant in self._leases.grants(time.monotonic()):
                self._granted[grant.stream] = grant
            leased = self._leases.leased
            self._metrics.leases_stand(
                leased=leased, free=self._config.learner.environments - leased, streams=len(self._open)
            )
            self._changed.notify_all()

    def _await_grant(self, number: int, is_alive: Callable[[], bool]) -> Grant | None:
        """The grant of this offer, or None when the stream is to end."""
        while is_alive() and not self._over.is_set():
            with self._changed:
                self._changed.wait_for(lambda: number in self._granted or self._over.is_set(), POLL_SECONDS)
                if number in self._granted:
                    return self._granted[number]
                if number not in self._open:
                    return None
            self._grant()
        return None

    def _serve_lease(
        self,
        number: int,
        grant: Grant,
        hello: pb.SimulatorMessage,
        messages: Iterator[pb.SimulatorMessage],
        is_alive: Callable[[], bool],
    ) -> Iterator[pb.LearnerMessage]:
        """Rows in, actions out, until the stream, the job, or the lease ends."""
        slots, layout = self._slots, self._layout
        assert slots is not None
        assert layout is not None
        lanes, rebuilds = slots.lease(grant.slots)
        self._metrics.replayed(sum(len(actions) for _, _, actions in rebuilds) // 4)
        yield _lease_message(grant, rebuilds)
        released: set[int] = set()
        for sequence, message in enumerate(messages, start=1):
            check_sender(message, hello, sequence)
            ended = slots.write_rows(lanes, read_rows(message.rows, len(lanes.slots), layout))
            moved = self._vacate(number, lanes, released.intersection(ended))
            if moved:
                self._grant()
            actions = self._await_actions(slots, lanes, is_alive)
            if actions is None:
                return
            leaving = set(self._leases.leaving(number)) - released
            released |= leaving
            yield pb.LearnerMessage(
                sequence=sequence, actions=pb.Actions(action=actions.tobytes(), release=sorted(leaving))
            )

    def _vacate(self, number: int, lanes: Lanes, ended: set[int]) -> bool:
        """Released slots whose episodes ended are free for others from now on."""
        if not ended:
            return False
        with self._changed:
            moved = self._leases.episodes_ended(number, sorted(ended), time.monotonic())
        lanes.live &= ~np.isin(lanes.slots, moved)
        return True

    def _await_actions(
        self, slots: Slots, lanes: Lanes, is_alive: Callable[[], bool]
    ) -> np.ndarray[tuple[int], np.dtype[np.int32]] | None:
        """None when the stream is to end."""
        while is_alive() and not self._over.is_set() and lanes.live.any():
            actions = slots.wait_actions(lanes, POLL_SECONDS)
            if actions is not None:
                return actions
        return None


class _Servicer(stream_pb2_grpc.SimulatorStreamServicer):
    """Turns refusals into gRPC statuses."""

    def __init__(self, server: StreamServer) -> None:
        self._server = server

    def Serve(
        self, request_iterator: Iterator[pb.SimulatorMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.LearnerMessage]:
        try:
            yield from self._server.serve(request_iterator, context.is_active)
        except RefusedError as error:
            self._server.refused(error)
            context.abort(error.code, str(error))
        except grpc.RpcError:
            _log.info("stream_lost", peer=context.peer())


def check_sender(message: pb.SimulatorMessage, hello: pb.SimulatorMessage, sequence: int) -> None:
    """Raises RefusedError unless the message is the stream's next, from who opened it."""
    sender = (message.simulator, message.incarnation, message.sequence, message.WhichOneof("body"))
    if sender != (hello.simulator, hello.incarnation, sequence, "rows"):
        raise RefusedError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"expected rows {sequence} of {hello.simulator}, got {sender[3]} {sender[2]} of {sender[0]}",
        )


def read_rows(rows: pb.Rows, num_lanes: int, layout: ObservationLayout) -> Rows:
    """Arrays over the message's own bytes. Raises RefusedError when a field is not of the size it must be."""
    flags = _read("flags", rows.flags, (num_lanes,), np.dtype(np.uint8))
    num_truncated = int(np.count_nonzero(flags & TRUNCATED))
    final_shape = (num_truncated, *layout.shape)
    return Rows(
        observation=_read("observation", rows.observation, (num_lanes, *layout.shape), layout.dtype),
        reward=_read("reward", rows.reward, (num_lanes,), np.dtype(np.float32)),
        flags=flags,
        final_observation=_read("final_observation", rows.final_observation, final_shape, layout.dtype),
    )


def _read(name: str, data: bytes, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray:
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(data) != expected:
        raise RefusedError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"rows.{name}: {len(data)} bytes, must be {expected}: {dtype} {list(shape)}",
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _layout_of(hello: pb.Hello) -> ObservationLayout:
    """Raises RefusedError for what no array can be."""
    shape = tuple(hello.observation.shape)
    try:
        dtype = np.dtype(hello.observation.dtype)
    except TypeError as error:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"observation.dtype: {error}") from error
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if dtype.kind not in "biuf" or len(shape) > MAX_RANK or not 0 < size <= MAX_MESSAGE_BYTES or not hello.num_actions:
        raise RefusedError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"observation {dtype} {list(shape)} with {hello.num_actions} actions: must be numbers of rank 0 to "
            f"{MAX_RANK}, 1 to {MAX_MESSAGE_BYTES} bytes, with at least 1 action",
        )
    return ObservationLayout(
        shape=shape, dtype=dtype, num_actions=hello.num_actions, num_categories=hello.num_categories
    )


def _lease_message(grant: Grant, rebuilds: list[tuple[int, int, bytes]]) -> pb.LearnerMessage:
    slots = [
        pb.SlotLease(slot=slot, global_slot=global_slot, episode=episode, actions=actions)
        for slot, (global_slot, episode, actions) in zip(grant.slots, rebuilds, strict=True)
    ]
    return pb.LearnerMessage(lease=pb.Lease(group=grant.group, slots=slots))
