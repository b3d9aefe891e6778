"""The wire's messages as a learner reads and writes them; whatever breaks stream.proto's rules is refused here."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import store_pb2
from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.channel import MAX_MESSAGE_BYTES
from stepstream_trainer.config import TrainerConfig
from stepstream_trainer.learner.homes import Need, Place, Rank
from stepstream_trainer.learner.leasing import Turn
from stepstream_trainer.learner.slots import LaneStart
from stepstream_trainer.rows import DTYPES, TRUNCATED, Rows, Spaces, refused_choices, refused_observation

MAX_NAME_LENGTH: Final = 253  # of a Kubernetes object, hence of a pod

ROOM_FOR_HEADER: Final = 1024
"""Bytes of a message besides what it says of each slot: who sent it, and the fields' own lengths."""

HEARTBEAT: Final = pb.LearnerMessage(heartbeat=pb.Heartbeat())
JOB_OVER: Final = pb.LearnerMessage(job_over=pb.JobOver())
UNREADABLE: Final = pb.SimulatorMessage()
"""Stands for bytes that are no message: it is neither a Hello nor the next Rows of any stream."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


class RefusedError(Exception):
    """A stream that cannot be served: a gRPC status, and a sentence for the simulator's log."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who opened a stream, and what its environments are like."""

    simulator: str
    incarnation: int
    spaces: Spaces
    guest: bool
    """Whether it was sent here to help out."""


def read_message(data: bytes) -> pb.SimulatorMessage:
    """UNREADABLE where the bytes are no message, so that it is refused, and counted, as any other that breaks rules."""
    try:
        return pb.SimulatorMessage.FromString(data)
    except DecodeError:
        return UNREADABLE


def read_hello(message: pb.SimulatorMessage, config: TrainerConfig) -> Sender:
    """Raises RefusedError unless the message opens a stream of this job."""
    hello = message.hello
    if message.WhichOneof("body") != "hello" or message.sequence != 0:
        raise _invalid("a stream begins with a Hello of sequence 0")
    if not 0 < len(message.simulator) <= MAX_NAME_LENGTH:
        raise _invalid(f"a simulator has a name of 1 to {MAX_NAME_LENGTH} characters")
    if hello.protocol_version != PROTOCOL_VERSION:
        raise _mismatch(
            f"the learner speaks protocol version {PROTOCOL_VERSION}, the simulator {hello.protocol_version}; "
            "run both from the same release"
        )
    if hello.job != config.job:
        raise _mismatch(f"the learner serves job {config.job}, not {hello.job}")
    if hello.environment_digest != config.environment.digest():
        raise _mismatch("the simulator's environment is configured otherwise than the learner's")
    return Sender(
        simulator=message.simulator,
        incarnation=message.incarnation,
        spaces=_read_spaces(hello),
        guest=hello.guest,
    )


def read_rows(message: pb.SimulatorMessage, sender: Sender, *, sequence: int, num_lanes: int) -> Rows:
    """Arrays over the message's own bytes. Raises RefusedError unless it is the stream's next, and whole."""
    expected = (sender.simulator, sender.incarnation, sequence, "rows")
    got = (message.simulator, message.incarnation, message.sequence, message.WhichOneof("body"))
    if got != expected:
        raise _invalid(f"expected (simulator, incarnation, sequence, body) {expected}, got {got}")
    rows, spaces = message.rows, sender.spaces
    flags = _read("flags", rows.flags, (num_lanes,), np.dtype(np.uint8))
    num_truncated = int(np.count_nonzero(flags & TRUNCATED))
    return Rows(
        observation=_read("observation", rows.observation, (num_lanes, *spaces.shape), spaces.dtype),
        reward=_read("reward", rows.reward, (num_lanes,), np.dtype(np.float32)),
        flags=flags,
        final_observation=_read(
            "final_observation", rows.final_observation, (num_truncated, *spaces.shape), spaces.dtype
        ),
    )


def lease_message(group: int, starts: Iterable[LaneStart]) -> pb.LearnerMessage:
    slots = [
        pb.SlotLease(
            slot=start.slot,
            global_slot=start.global_slot,
            episode=start.episode,
            actions=start.actions,
            later=start.later,
            held=pb.Held(actions=start.held.actions, checksum=start.held.checksum) if start.held else None,
        )
        for start in starts
    ]
    return pb.LearnerMessage(lease=pb.Lease(group=group, slots=slots))


def actions_message(turn: Turn, sequence: int) -> pb.LearnerMessage:
    adopt = [pb.Adoption(slot=slot, episode=episode) for slot, episode in turn.actions.adopted]
    actions = pb.Actions(action=turn.actions.action.tobytes(), release=turn.release, adopt=adopt)
    return pb.LearnerMessage(sequence=sequence, actions=actions)


def redirect_message(place: Place) -> pb.LearnerMessage:
    return pb.LearnerMessage(redirect=pb.Redirect(rank=place.rank, guest=place.guest))


def need_message(rank: Rank, need: Need) -> store_pb2.Need:
    """What the learner of that rank needs, for the others of a job in mode Async."""
    return store_pb2.Need(rank=rank, free_slots=need.free_slots, simulators=sorted(need.simulators))


def read_need(message: store_pb2.Need) -> Need:
    return Need(free_slots=message.free_slots, simulators=frozenset(message.simulators))


def max_lease_slots(spaces: Spaces) -> int:
    """Slots whose rows, all of them truncated, are one message."""
    return max(1, (MAX_MESSAGE_BYTES - ROOM_FOR_HEADER) // (2 * spaces.observation_bytes + 64))


def _read_spaces(hello: pb.Hello) -> Spaces:
    """Raises RefusedError for what no array can be."""
    shape = tuple(hello.observation.shape)
    dtype = DTYPES.get(hello.observation.dtype)
    if dtype is None:
        raise _invalid(f"observation.dtype: {hello.observation.dtype[:20]!r}; it must be one of {', '.join(DTYPES)}")
    if refusal := refused_observation(shape, dtype):
        raise _invalid(refusal)
    if refusal := refused_choices(hello.num_actions, hello.num_categories):
        raise _invalid(refusal)
    return Spaces(shape=shape, dtype=dtype, num_actions=hello.num_actions, num_categories=hello.num_categories)


def _read(name: str, data: bytes, shape: tuple[int, ...], dtype: np.dtype[_Scalar]) -> NDArray[_Scalar]:
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise _invalid(f"rows.{name}: expected {expected} bytes, {dtype} {list(shape)}, got {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape)


def _invalid(sentence: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, sentence)


def _mismatch(sentence: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.FAILED_PRECONDITION, sentence)
