"""A simulator's life: one stream is always open that offers itself; each lease is served in a thread of its own."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_protos.v1 import stream_pb2_grpc
from stepstream_trainer.channel import CHANNEL_OPTIONS
from stepstream_trainer.config import TrainerConfig
from stepstream_trainer.logs import get_log
from stepstream_trainer.simulator.environments import Spaces, make_batch
from stepstream_trainer.simulator.episodes import LeasedEpisodes, RowArrays, SlotStart
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.tls import SERVER_NAME, channel_credentials

_log = get_log("serving")

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 10.0
"""Between attempts to reach a learner: at first often, since it is usually just starting; never given up."""

FINAL_REFUSALS = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ABORTED}
"""What the learner will say again, however often it is asked."""


class RefusedByLearnerError(Exception):
    """The learner will never serve this simulator; its sentence."""


class JobOver(Exception):
    """The learner said that the job is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Whom to dial, and with which certificates."""

    target: str
    tls_directory: Path | None


class Simulator:
    """Serves one job until it is over."""

    def __init__(
        self, config: TrainerConfig, name: str, endpoint: Endpoint, spaces: Spaces, metrics: SimulatorMetrics
    ) -> None:
        self._config = config
        self._name = name
        self._incarnation = time.time_ns()
        self._endpoint = endpoint
        self._spaces = spaces
        self._metrics = metrics
        self._over = threading.Event()

    def run(self) -> None:
        """Offer, serve, offer again. Returns when the job is over; raises RefusedByLearnerError."""
        retry_seconds = FIRST_RETRY_SECONDS
        while not self._over.is_set():
            try:
                # A new channel resolves the learner's name anew: a restarted pod has another address.
                with connect(self._endpoint) as channel:
                    self._offer_for_ever(channel)
            except JobOver:
                return
            except grpc.RpcError as error:
                if error.code() in FINAL_REFUSALS:
                    raise RefusedByLearnerError(error.details()) from error
                _log.info("learner_unreachable", code=error.code().name, retry_seconds=retry_seconds)
                self._metrics.reconnected()
            if self._over.wait(retry_seconds * random.uniform(0.5, 1.0)):
                return
            retry_seconds = min(LAST_RETRY_SECONDS, 2 * retry_seconds)

    def _offer_for_ever(self, channel: grpc.Channel) -> None:
        stub = stream_pb2_grpc.SimulatorStreamStub(channel)  # type: ignore[no-untyped-call]
        while not self._over.is_set():
            stream = Stream(stub, self._name, self._incarnation)
            stream.send_hello(self._config, self._spaces)
            lease = stream.await_lease()
            thread = threading.Thread(
                target=self._serve, args=(stream, lease), name=f"group-{lease.group}", daemon=True
            )
            thread.start()

    def _serve(self, stream: Stream, lease: pb.Lease) -> None:
        """One lease to its end. A thread of its own."""
        episodes = LeasedEpisodes(
            make_batch(self._config.environment, len(lease.slots)),
            self._config.seed,
            [_start_of(slot) for slot in lease.slots],
        )
        self._metrics.slots_changed(len(lease.slots))
        try:
            self._exchange(stream, episodes, len(lease.slots))
        except JobOver:
            self._over.set()
        except grpc.RpcError as error:
            _log.info("stream_lost", code=error.code().name)
        finally:
            stream.close()
            episodes.close()
            self._metrics.slots_changed(-len(lease.slots))

    def _exchange(self, stream: Stream, episodes: LeasedEpisodes, num_lanes: int) -> None:
        started = time.perf_counter()
        rows = episodes.rebuild()
        self._metrics.replayed(time.perf_counter() - started)
        emulated = started = time.perf_counter()
        while True:
            stream.send_rows(rows)
            sent = time.perf_counter()
            if episodes.is_over:
                return
            answer = stream.receive()
            waited = time.perf_counter()
            episodes.release(answer.actions.release)
            action = np.frombuffer(answer.actions.action, np.int32)
            rows = episodes.step(action)
            previous, emulated = emulated, time.perf_counter()
            self._metrics.stepped(
                steps=num_lanes,
                episodes=rows.episodes_ended,
                emulate=emulated - waited,
                wait=waited - sent,
                send=sent - previous,
            )


class Stream:
    """The simulator's end of one stream: messages out in order, answers in. One thread at a time."""

    def __init__(self, stub: stream_pb2_grpc.SimulatorStreamStub, name: str, incarnation: int) -> None:
        self._name = name
        self._incarnation = incarnation
        self._sequence = 0
        self._outbox: queue.SimpleQueue[pb.SimulatorMessage | None] = queue.SimpleQueue()
        self._call: Iterator[pb.LearnerMessage] = stub.Serve(iter(self._outbox.get, None))

    def send_hello(self, config: TrainerConfig, spaces: Spaces) -> None:
        hello = pb.Hello(
            protocol_version=PROTOCOL_VERSION,
            job=config.job,
            environment_digest=config.environment.digest(),
            observation=pb.ArraySpec(shape=spaces.shape, dtype=spaces.dtype.name),
            num_actions=spaces.num_actions,
            num_categories=spaces.num_categories,
        )
        self._send(pb.SimulatorMessage(hello=hello))

    def await_lease(self) -> pb.Lease:
        """Raises JobOver, or RpcError when the stream ends before."""
        while True:
            message = self.receive()
            if message.WhichOneof("body") == "lease":
                return message.lease

    def send_rows(self, rows: RowArrays) -> None:
        self._send(
            pb.SimulatorMessage(
                rows=pb.Rows(
                    observation=rows.observation.tobytes(),
                    reward=rows.reward.astype(np.float32).tobytes(),
                    flags=rows.flags.tobytes(),
                    final_observation=rows.final_observation.tobytes(),
                )
            )
        )

    def receive(self) -> pb.LearnerMessage:
        """The next answer. Raises JobOver, or RpcError when the stream ended."""
        message = next(self._call, None)
        if message is None:
            raise StreamEnded
        if message.WhichOneof("body") == "job_over":
            raise JobOver
        return message

    def close(self) -> None:
        """End the stream from this side."""
        self._outbox.put(None)

    def _send(self, message: pb.SimulatorMessage) -> None:
        message.simulator, message.incarnation, message.sequence = self._name, self._incarnation, self._sequence
        self._sequence += 1
        self._outbox.put(message)


class StreamEnded(grpc.RpcError):
    """The learner ended the stream without a word: it is stopping, or took the lease back."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


def connect(endpoint: Endpoint) -> grpc.Channel:
    """Raises OSError when a certificate cannot be read."""
    if endpoint.tls_directory is None:
        return grpc.insecure_channel(endpoint.target, CHANNEL_OPTIONS)
    options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", SERVER_NAME))
    return grpc.secure_channel(endpoint.target, channel_credentials(endpoint.tls_directory), options)


def _start_of(slot: pb.SlotLease) -> SlotStart:
    return SlotStart(
        slot=slot.slot,
        global_slot=slot.global_slot,
        episode=slot.episode,
        actions=np.frombuffer(slot.actions, np.int32),
    )
