"""A learner's real StreamServer, and streams to it whose messages a test makes itself."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_protos.v1 import stream_pb2_grpc
from stepstream_trainer.channel import CHANNEL_OPTIONS
from stepstream_trainer.learner.ingest import StreamServer
from stepstream_trainer.rows import Spaces
from tests.support.data_plane import CARTPOLE, PATIENCE_SECONDS, Counts, config_of

CONFIG = config_of(CARTPOLE, environments=4, groups=1)
SPACES = Spaces(shape=(4,), dtype=np.dtype(np.float32), num_actions=2, num_categories=0)
"""CartPole's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """A learner's end, and the way to it."""

    server: StreamServer
    channel: grpc.Channel
    counts: Counts


def listen(address: str, counts: Counts) -> StreamServer:
    return StreamServer(CONFIG, address, groups=1, tls_directory=None, rank=0, metrics=counts)


@contextmanager
def listening(directory: Path) -> Iterator[Listening]:
    """Grants no leases yet."""
    address, counts = f"unix:{directory}/s", Counts()
    server = listen(address, counts)
    server.start()
    with grpc.insecure_channel(address, CHANNEL_OPTIONS) as channel:
        yield Listening(server=server, channel=channel, counts=counts)
    server.stop(job_over=True)


@contextmanager
def serving(directory: Path) -> Iterator[Listening]:
    """Has seen a first stream, and grants leases."""
    with listening(directory) as learner:
        first = open_stream(learner.channel, [hello()])
        assert learner.server.slots(PATIENCE_SECONDS) is not None
        learner.server.serve_leases()
        first.cancel()
        yield learner


def open_stream(channel: grpc.Channel, messages: Iterable[pb.SimulatorMessage]) -> Any:
    stub = stream_pb2_grpc.SimulatorStreamStub(channel)  # type: ignore[no-untyped-call]
    return stub.Serve(iter(messages), timeout=PATIENCE_SECONDS)


def status_of(channel: grpc.Channel, *messages: pb.SimulatorMessage) -> tuple[grpc.StatusCode, str]:
    """How the learner ends a stream of these messages."""
    call = open_stream(channel, messages)
    with pytest.raises(grpc.RpcError):
        list(call)
    return call.code(), call.details()


def hello(**changes: object) -> pb.SimulatorMessage:
    fields: dict[str, object] = {
        "protocol_version": PROTOCOL_VERSION,
        "job": CONFIG.job,
        "environment_digest": CONFIG.environment.digest(),
        "observation": pb.ArraySpec(shape=SPACES.shape, dtype=SPACES.dtype.name),
        "num_actions": SPACES.num_actions,
    }
    return message(0, hello=pb.Hello(**{**fields, **changes}))  # type: ignore[arg-type]


def rows(sequence: int = 1, *, observation_bytes: int = 64, reward_bytes: int = 16) -> pb.SimulatorMessage:
    zeros = pb.Rows(observation=bytes(observation_bytes), reward=bytes(reward_bytes), flags=b"\1" * 4)
    return message(sequence, rows=zeros)


def message(sequence: int, *, incarnation: int = 7, **body: object) -> pb.SimulatorMessage:
    return pb.SimulatorMessage(simulator="s", incarnation=incarnation, sequence=sequence, **body)  # type: ignore[arg-type]
