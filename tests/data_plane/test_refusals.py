"""What a learner's stream does not take: each refusal is a gRPC status with a sentence, and is counted."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from stepstream_protos import PROTOCOL_VERSION
from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.http import CannotListenError
from tests.support.data_plane import Counts
from tests.support.raw_streams import Listening, hello, listen, open_stream, rows, serving, status_of


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Listening]:
    with serving(tmp_path) as learner:
        yield learner


@pytest.fixture
def counts() -> Counts:
    return Counts()


REFUSED: dict[str, tuple[Callable[[], list[pb.SimulatorMessage]], grpc.StatusCode, str]] = {
    "another protocol": (
        lambda: [hello(protocol_version=PROTOCOL_VERSION + 1)],
        grpc.StatusCode.FAILED_PRECONDITION,
        f"the learner speaks protocol version {PROTOCOL_VERSION}, the simulator {PROTOCOL_VERSION + 1}",
    ),
    "another job": (
        lambda: [hello(job="other")],
        grpc.StatusCode.FAILED_PRECONDITION,
        "the learner serves job test, not other",
    ),
    "another environment": (
        lambda: [hello(environment_digest="0")],
        grpc.StatusCode.FAILED_PRECONDITION,
        "configured otherwise",
    ),
    "no actions": (
        lambda: [hello(num_actions=0)],
        grpc.StatusCode.INVALID_ARGUMENT,
        "0 actions; there must be 1 to 65,536",
    ),
    "too many actions": (
        lambda: [hello(num_actions=1 << 30)],
        grpc.StatusCode.INVALID_ARGUMENT,
        "1,073,741,824 actions",
    ),
    "no number": (
        lambda: [hello(observation=pb.ArraySpec(shape=[4], dtype="object"))],
        grpc.StatusCode.INVALID_ARGUMENT,
        "observation.dtype: 'object'; it must be one of bool, int8",
    ),
    "a dtype that NumPy would puzzle over": (
        lambda: [hello(observation=pb.ArraySpec(shape=[4], dtype='3"nt8'))],
        grpc.StatusCode.INVALID_ARGUMENT,
        "observation.dtype: '3\"nt8'",
    ),
    "too many dimensions": (
        lambda: [hello(observation=pb.ArraySpec(shape=[1] * 5, dtype="uint8"))],
        grpc.StatusCode.INVALID_ARGUMENT,
        "must be numbers, of rank 0 to 4",
    ),
    "an enormous observation": (
        lambda: [hello(observation=pb.ArraySpec(shape=[2**31, 2**31], dtype="uint8"))],
        grpc.StatusCode.INVALID_ARGUMENT,
        "must be numbers, of rank 0 to 4, 1 to",
    ),
    "rows before hello": (lambda: [rows(0)], grpc.StatusCode.INVALID_ARGUMENT, "a stream begins with a Hello"),
    "a short observation": (
        lambda: [hello(), rows(observation_bytes=63)],
        grpc.StatusCode.INVALID_ARGUMENT,
        "rows.observation: expected 64 bytes, float32 [4, 4], got 63",
    ),
    "a long reward": (
        lambda: [hello(), rows(reward_bytes=20)],
        grpc.StatusCode.INVALID_ARGUMENT,
        "rows.reward: expected 16 bytes, float32 [4], got 20",
    ),
    "a number left out": (
        lambda: [hello(), rows(2)],
        grpc.StatusCode.INVALID_ARGUMENT,
        "expected (simulator, incarnation, sequence, body) ('s', 7, 1, 'rows'), got ('s', 7, 2, 'rows')",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_stream_that_breaks_the_rules_is_refused_with_a_sentence(case: str, learner: Listening) -> None:
    messages, code, sentence = REFUSED[case]
    got_code, details = status_of(learner.channel, *messages())
    assert got_code is code
    assert sentence in details
    assert learner.counts.refused == [code.name]


def test_an_earlier_start_of_a_simulator_is_refused(learner: Listening) -> None:
    newer = hello()
    newer.incarnation = 8
    assert next(open_stream(learner.channel, [newer])).WhichOneof("body") == "heartbeat"
    code, details = status_of(learner.channel, hello())
    assert code is grpc.StatusCode.ABORTED
    assert "a process named s that started later is already known" in details
    assert learner.counts.refused == ["ABORTED"]


def test_another_incarnation_in_the_midst_of_a_stream_is_refused(learner: Listening) -> None:
    changed = rows()
    changed.incarnation = 8
    code, _ = status_of(learner.channel, hello(), changed)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_simulators_of_one_job_must_agree_on_their_spaces(learner: Listening) -> None:
    next(open_stream(learner.channel, [hello()]))
    code, details = status_of(learner.channel, hello(num_actions=3))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "the job began with" in details


def test_a_socket_in_use_is_said_before_anything_starts(tmp_path: Path, counts: Counts) -> None:
    address = f"unix:{tmp_path}/s"
    server = listen(address, counts)
    server.start()
    with pytest.raises(CannotListenError, match="in use by another process"):
        listen(address, counts)
    server.stop(job_over=False)


def test_a_port_in_use_is_said_before_anything_starts(counts: Counts) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CannotListenError, match="in use by another process"),
    ):
        listen(f"127.0.0.1:{taken.getsockname()[1]}", counts)


def test_an_address_that_does_not_exist_is_said_before_anything_starts(tmp_path: Path, counts: Counts) -> None:
    with pytest.raises(CannotListenError, match="or not an address of this machine"):
        listen(f"unix:{tmp_path}/missing/s", counts)


def test_the_socket_of_a_killed_learner_is_taken_over(tmp_path: Path, counts: Counts) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(f"{tmp_path}/s")
    assert not answers(f"{tmp_path}/s")
    server = listen(f"unix:{tmp_path}/s", counts)
    assert answers(f"{tmp_path}/s")
    server.stop(job_over=False)


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(path) == 0
