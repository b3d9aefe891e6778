"""The bounds of the wire: of silence, of messages, of streams; both ends agree on them, and each is kept."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from unittest.mock import patch

import grpc
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.channel import (
    CHANNEL_OPTIONS,
    HEARTBEAT_SECONDS,
    MAX_MESSAGE_BYTES,
    SERVER_OPTIONS,
    SILENCE_SECONDS,
)
from stepstream_trainer.learner import ingest, messages
from stepstream_trainer.rows import TRUNCATED, Spaces
from stepstream_trainer.simulator import streams
from stepstream_trainer.simulator.streams import Endpoint, Identity, Stream
from tests.support.data_plane import PATIENCE_SECONDS, wait_until
from tests.support.raw_streams import CONFIG, SPACES, hello, listening, open_stream, rows, serving, status_of
from tests.support.scripted_learner import HEARTBEAT, Inbox, actions, scripted_learner

Options = tuple[tuple[str, int], ...]
RECEIVE_LIMIT, SEND_LIMIT = "grpc.max_receive_message_length", "grpc.max_send_message_length"
MEGABYTE = 1 << 20


def with_limits(options: Options, size: int) -> Options:
    """The same, for messages of that size; a limit that is not there is not made."""
    return tuple((name, size if name in (RECEIVE_LIMIT, SEND_LIMIT) else value) for name, value in options)


def faster(options: Options, times: int) -> Options:
    """The same, with everything that happens every so many milliseconds happening so many times as often."""
    rare = [name for name, _ in options if name.endswith("_ms") and name != "grpc.keepalive_timeout_ms"]
    return tuple((name, value // times if name in rare else value) for name, value in options)


def test_both_ends_agree_on_the_size_of_messages() -> None:
    for options in (dict(CHANNEL_OPTIONS), dict(SERVER_OPTIONS)):
        assert options[RECEIVE_LIMIT] == options[SEND_LIMIT] == MAX_MESSAGE_BYTES


def test_both_ends_notice_a_peer_that_vanished_sooner_than_its_silence() -> None:
    for options in (dict(CHANNEL_OPTIONS), dict(SERVER_OPTIONS)):
        noticed_ms = options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"]
        assert 0 < noticed_ms < 1000 * SILENCE_SECONDS
        assert options["grpc.http2.max_pings_without_data"] == 0, "0 is without limit: learners think for long"


def test_a_server_permits_every_keepalive_of_its_clients() -> None:
    client, server = dict(CHANNEL_OPTIONS), dict(SERVER_OPTIONS)
    assert server["grpc.http2.min_ping_interval_without_data_ms"] < client["grpc.keepalive_time_ms"]
    permission = "grpc.keepalive_permit_without_calls"
    assert server.get(permission, 0) >= client.get(permission, 0)


def test_a_late_heartbeat_or_two_are_no_silence() -> None:
    assert 3 * HEARTBEAT_SECONDS < SILENCE_SECONDS


def test_a_stream_outlives_its_keepalives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC sends one a second at most, and a server that permits none ends the connection at the fourth."""
    monkeypatch.setattr("tests.support.scripted_learner.SERVER_OPTIONS", faster(SERVER_OPTIONS, 200))
    monkeypatch.setattr(streams, "CHANNEL_OPTIONS", faster(CHANNEL_OPTIONS, 200))

    def thinks_for_five_keepalives(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        inbox.over.wait(5.0)
        yield actions(1, sequence=1)

    with scripted_learner(f"unix:{tmp_path}/s", thinks_for_five_keepalives):
        stream = open_simulators_stream(tmp_path)
        assert stream.receive().sequence == 1
        stream.close()


def test_a_simulator_hears_heartbeats_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "HEARTBEAT_SECONDS", 0.02)
    outbox: SimpleQueue[pb.SimulatorMessage | None] = SimpleQueue()
    with listening(tmp_path) as learner:
        call = open_stream(learner.channel, iter(outbox.get, None))
        outbox.put(hello())
        assert [next(call).WhichOneof("body") for _ in range(5)] == ["heartbeat"] * 5, "for a lease"
        learner.server.serve_leases()
        assert next_besides_heartbeats(call) == "lease"
        outbox.put(rows())
        assert [next(call).WhichOneof("body") for _ in range(5)] == ["heartbeat"] * 5, "for actions"
        slots = learner.server.slots(0.0)
        assert slots is not None
        slots.post_actions(0, np.zeros(4, np.int64))
        assert next_besides_heartbeats(call) == "actions"
        outbox.put(None)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_counted_only_while_the_learner_is_waited_for_and_since_it_last_spoke(tmp_path: Path) -> None:
    said: SimpleQueue[pb.LearnerMessage | None] = SimpleQueue()
    clock = Clock()
    with scripted_learner(f"unix:{tmp_path}/s", lambda _: iter(said.get, None)):
        stream = open_simulators_stream(tmp_path, clock)
        clock.now = 1000.0
        assert stream.waits_seconds() == 0.0, "nobody waits yet"
        waiting = threading.Thread(target=stream.receive)
        waiting.start()
        wait_until(lambda: stream._waiting_since == clock.now, "it is waited for")
        clock.now += SILENCE_SECONDS + 1.0
        assert stream.waits_seconds() == SILENCE_SECONDS + 1.0
        said.put(HEARTBEAT)
        wait_until(lambda: stream._waiting_since == clock.now, "a heartbeat is heard, and more is waited for")
        clock.now += SILENCE_SECONDS - 1.0
        assert stream.waits_seconds() == SILENCE_SECONDS - 1.0
        said.put(actions(1, sequence=1))
        waiting.join(PATIENCE_SECONDS)
        clock.now += 1000.0
        assert stream.waits_seconds() == 0.0, "while it steps, the learner may be silent"
        said.put(None)
        stream.close()


@pytest.fixture
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte is the most, to either end."""
    monkeypatch.setattr(ingest, "SERVER_OPTIONS", with_limits(SERVER_OPTIONS, MEGABYTE))
    monkeypatch.setattr(streams, "CHANNEL_OPTIONS", with_limits(CHANNEL_OPTIONS, MEGABYTE))


@pytest.mark.usefixtures("small_messages")
def test_rows_larger_than_a_message_may_be_end_their_stream_and_its_lease(tmp_path: Path) -> None:
    with serving(tmp_path) as learner:
        code, details = status_of(learner.channel, hello(), rows(observation_bytes=2 * MEGABYTE))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in details
        wait_until(lambda: learner.counts.leases == learner.counts.streams == 0, "its slots are free")


@pytest.mark.usefixtures("small_messages")
def test_a_learners_message_larger_than_it_may_be_ends_the_simulators_stream(tmp_path: Path) -> None:
    with scripted_learner(f"unix:{tmp_path}/s", lambda _: iter([actions(MEGABYTE, sequence=1)])):
        stream = open_simulators_stream(tmp_path)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            stream.receive()
        stream.close()


def test_rows_may_be_far_larger_than_grpc_lets_a_message_be_by_itself(tmp_path: Path) -> None:
    with serving(tmp_path) as learner:
        code, details = status_of(learner.channel, hello(), rows(observation_bytes=5 * MEGABYTE))
        assert (code, details.partition(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "rows.observation")


@example(size=2**14 - 32, name=messages.MAX_NAME_LENGTH)
@given(size=st.integers(1, 2**14), name=st.integers(1, messages.MAX_NAME_LENGTH))
def test_the_rows_of_the_largest_lease_are_one_message(size: int, name: int) -> None:
    limit = 4 * 2**14
    spaces = Spaces(shape=(size,), dtype=np.dtype(np.uint8), num_actions=2, num_categories=0)
    with patch.object(messages, "MAX_MESSAGE_BYTES", limit):
        lanes = messages.max_lease_slots(spaces)
    all_truncated = pb.Rows(
        observation=bytes(lanes * size),
        reward=bytes(4 * lanes),
        flags=bytes([TRUNCATED]) * lanes,
        final_observation=bytes(lanes * size),
    )
    largest = pb.SimulatorMessage(simulator="s" * name, incarnation=2**64 - 1, sequence=2**64 - 1, rows=all_truncated)
    assert largest.ByteSize() <= limit


def test_one_stream_more_than_there_may_be_is_refused_until_another_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "MAX_STREAMS", 2)
    with listening(tmp_path) as learner:
        kept = [kept_open(learner.channel) for _ in range(2)]
        code, details = status_of(learner.channel, hello())
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "limit exceeded" in details
        kept.pop().cancel()
        wait_until(lambda: is_accepted(open_stream(learner.channel, [hello()])), "there is room again")


def kept_open(channel: grpc.Channel) -> Any:
    """A stream that was accepted, and stays."""
    outbox: SimpleQueue[pb.SimulatorMessage | None] = SimpleQueue()
    outbox.put(hello())
    call = open_stream(channel, iter(outbox.get, None))
    assert is_accepted(call)
    return call


def is_accepted(call: Any) -> bool:
    try:
        return bool(next(call).WhichOneof("body") == "heartbeat")
    except grpc.RpcError:
        return False


def next_besides_heartbeats(call: Any) -> str:
    bodies = (str(message.WhichOneof("body")) for message in call)
    return next(body for body in bodies if body != "heartbeat")


def open_simulators_stream(directory: Path, clock: Callable[[], float] = time.monotonic) -> Stream:
    """To the scripted learner of this directory."""
    endpoint = Endpoint(target=f"unix:{directory}/s", tls_directory=None)
    stream = Stream(endpoint, Identity(name="s", incarnation=1), clock)
    stream.send_hello(CONFIG, SPACES)
    return stream
