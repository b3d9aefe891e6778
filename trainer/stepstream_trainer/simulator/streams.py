"""The simulator's end of one stream: a connection of its own, messages out in order, answers in."""

import math
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_protos.v1 import stream_pb2_grpc
from stepstream_trainer.channel import CHANNEL_OPTIONS
from stepstream_trainer.config import TrainerConfig, contract
from stepstream_trainer.rows import Rows, Spaces
from stepstream_trainer.tls import channel_credentials, channel_options


class JobOverError(Exception):
    """The learner said that the job is over."""


class StreamEndedError(Exception):
    """The learner ended the stream without a word: it stops, or took the lease back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Whereto:
    """The learner that a stream is offered to; `guest` as the learner that redirected it here has said."""

    rank: int = 0
    guest: bool = False


FIRST: Final = Whereto()
"""Every offer is made to rank 0 first: it knows who needs slots served."""


class RedirectedError(Exception):
    """The learner wants another stream to be offered elsewhere."""

    def __init__(self, whereto: Whereto) -> None:
        super().__init__(f"redirected to the learner of rank {whereto.rank}")
        self.whereto = whereto


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Whom to dial, and with which certificates. `target` is that of all learners: see `contract.LEARNER`."""

    target: str
    tls_directory: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who the simulator is; `incarnation` rises at every start (Unix time, nanoseconds)."""

    name: str
    incarnation: int


class Stream:
    """One thread at a time uses it; `waits_seconds` and `cancel` are for any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        identity: Identity,
        clock: Callable[[], float] = time.monotonic,
        *,
        whereto: Whereto = FIRST,
    ) -> None:
        """Dials. The target's name is resolved anew: a restarted learner may have another address."""
        self.was_accepted = False
        """Whether the learner has said anything but no."""
        self._identity = identity
        self._clock = clock
        self._sequence = 0
        self._waiting_since = math.inf
        self._outbox: queue.SimpleQueue[pb.SimulatorMessage | None] = queue.SimpleQueue()
        self._whereto = whereto
        self._channel = connect(endpoint, whereto.rank)
        stub = stream_pb2_grpc.SimulatorStreamStub(self._channel)  # type: ignore[no-untyped-call]
        self._call = stub.Serve(iter(self._outbox.get, None))

    def send_hello(self, config: TrainerConfig, spaces: Spaces) -> None:
        hello = pb.Hello(
            protocol_version=PROTOCOL_VERSION,
            job=config.job,
            environment_digest=config.environment.digest(),
            observation=pb.ArraySpec(shape=spaces.shape, dtype=spaces.dtype.name),
            num_actions=spaces.num_actions,
            num_categories=spaces.num_categories,
            guest=self._whereto.guest,
        )
        self._send(pb.SimulatorMessage(hello=hello))

    def send_rows(self, rows: Rows) -> None:
        message = pb.Rows(
            observation=rows.observation.tobytes(),
            reward=rows.reward.tobytes(),
            flags=rows.flags.tobytes(),
            final_observation=rows.final_observation.tobytes(),
        )
        self._send(pb.SimulatorMessage(rows=message))

    def receive(self) -> pb.LearnerMessage:
        """The next Lease or Actions. Raises JobOverError, RedirectedError, StreamEndedError, grpc.RpcError."""
        while (message := self._receive()).WhichOneof("body") == "heartbeat":
            pass
        return message

    def waits_seconds(self) -> float:
        """Since the learner, waited for, last said anything; 0 while nobody waits for it."""
        return max(0.0, self._clock() - self._waiting_since)

    def cancel(self) -> None:
        """Whoever waits for the learner gets grpc.RpcError."""
        self._call.cancel()

    def close(self) -> None:
        self._outbox.put(None)
        self._channel.close()

    def _send(self, message: pb.SimulatorMessage) -> None:
        message.simulator, message.incarnation = self._identity.name, self._identity.incarnation
        message.sequence = self._sequence
        self._sequence += 1
        self._outbox.put(message)

    def _receive(self) -> pb.LearnerMessage:
        self._waiting_since = self._clock()
        message: pb.LearnerMessage | None = next(self._call, None)
        self._waiting_since = math.inf
        if message is None:
            raise StreamEndedError
        self.was_accepted = True
        if message.WhichOneof("body") == "job_over":
            raise JobOverError
        if message.WhichOneof("body") == "redirect":
            raise RedirectedError(Whereto(rank=message.redirect.rank, guest=message.redirect.guest))
        return message


def connect(endpoint: Endpoint, rank: int) -> grpc.Channel:
    """Raises OSError when a certificate cannot be read."""
    target = contract.at_rank(endpoint.target, rank)
    if endpoint.tls_directory is None:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)
    options = (*CHANNEL_OPTIONS, *channel_options())
    return grpc.secure_channel(target, channel_credentials(endpoint.tls_directory), options)
