"""Malformed messages by the thousand: a learner refuses each, grows by none, and serves honest simulators meanwhile.

`--thorough` sends 100,000 of them down streams, and as many requests to /status, instead of a few thousand.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.channel import CHANNEL_OPTIONS
from stepstream_trainer.http import Endpoints, HttpServer
from stepstream_trainer.learner import messages
from stepstream_trainer.learner.ingest import SERVICE
from stepstream_trainer.learner.messages import RefusedError
from stepstream_trainer.metrics import new_registry
from tests.support.data_plane import CARTPOLE, PATIENCE_SECONDS, SeenRow, config_of, data_plane
from tests.support.mutations import altered, mutated
from tests.support.raw_streams import CONFIG, hello, rows

IN_PROCESS = 100_000
SAMPLES = [hello(), hello(guest=True, num_categories=3), rows(), rows(2), rows(observation_bytes=0)]
MAY_GROW_BYTES = 32 << 20
"""Beside what allocators keep."""


def malformed(seed: int) -> Iterator[bytes]:
    """For ever: every other is a whole message."""
    chance, samples = random.Random(seed), [sample.SerializeToString() for sample in SAMPLES]
    while True:
        yield mutated(samples, chance)
        yield altered(SAMPLES, chance).SerializeToString()


def test_whatever_bytes_come_reading_them_gives_a_message_or_a_refusal() -> None:
    sender, source = messages.read_hello(hello(), CONFIG), malformed(seed=1)
    outcomes = {"read": 0, "refused": 0, "unreadable": 0}
    readers: list[Callable[[pb.SimulatorMessage], object]] = [
        lambda message: messages.read_hello(message, CONFIG),
        lambda message: messages.read_rows(message, sender, sequence=1, num_lanes=4),
    ]
    for _ in range(IN_PROCESS):
        message = messages.read_message(next(source))
        for read in readers:
            try:
                read(message)
                outcomes["read"] += 1
            except RefusedError:
                outcomes["unreadable" if message is messages.UNREADABLE else "refused"] += 1
    assert min(outcomes.values()) > IN_PROCESS // 50, "some of each"


REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,  # an incarnation that is older than one that came before
}
GIVEN_UP = {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
"""How a stream ends that was accepted, and left."""


class Sending(threading.Thread):
    """Opens streams one after the other: what is malformed comes first, or after a Hello that is not."""

    def __init__(self, address: str, count: int) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._count = count
        self.ends: Counter[grpc.StatusCode] = Counter()
        self.grown_bytes = 0

    def run(self) -> None:
        """The first streams show how much memory so many take; from then on it must not grow."""
        source, opening = malformed(seed=2), hello().SerializeToString()
        with grpc.insecure_channel(self._address, CHANNEL_OPTIONS) as channel:
            for number in range(self._count):
                if number == self._count // 4:
                    self.grown_bytes -= resident_bytes()
                said = [next(source)] if number % 4 < 2 else [opening, next(source)]
                self.ends[self._end_of(channel, said)] += 1
        self.grown_bytes += resident_bytes()

    def _end_of(self, channel: grpc.Channel, said: list[bytes]) -> grpc.StatusCode:
        """A Hello by itself may be accepted; a lease that follows it is answered with what comes next."""
        call = channel.stream_stream(f"/{SERVICE}/Serve")(iter(said), timeout=0.5)
        try:
            for _ in range(len(said)):
                next(call)
            call.cancel()
        except grpc.RpcError:
            pass
        return call.code()


class Digest:
    """Of all that a learner saw of each slot; the rows themselves would be what grows here."""

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}

    def take(self, played: list[list[SeenRow]]) -> None:
        for slot, seen in enumerate(played):
            self.slots[slot] = zlib.crc32(repr(seen).encode(), self.slots.get(slot, 0))


@pytest.mark.timeout(1800)
def test_honest_simulators_rows_are_the_same_while_malformed_messages_come(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "stepstream")  # a line for each would be kept
    count = 100_000 if request.config.getoption("--thorough") else 2_000
    config = config_of(CARTPOLE)
    with data_plane(config, "a") as plane:
        sending, disturbed, steps = Sending(plane.learner.address, count), Digest(), 0
        plane.learner.play(5)
        sending.start()
        while sending.is_alive() or steps < 100:
            disturbed.take(plane.learner.play(10))
            steps += 10
        refused = Counter(grpc.StatusCode[name] for name in plane.learner.counts.refused)
    with data_plane(config, "a") as plane:
        undisturbed = Digest()
        plane.learner.play(5)
        for _ in range(0, steps, 10):
            undisturbed.take(plane.learner.play(10))
    assert disturbed.slots == undisturbed.slots
    assert sending.ends.keys() <= REFUSALS | GIVEN_UP, "nothing that was not foreseen"
    for code in REFUSALS:  # a stream may be left in the moment of its refusal
        assert sending.ends[code] <= refused[code] <= sending.ends[code] + sending.ends[grpc.StatusCode.CANCELLED]
    assert refused.total() > count // 2
    assert sending.grown_bytes < MAY_GROW_BYTES


REQUESTS = [
    b"GET /status HTTP/1.0\r\n\r\n",
    b"GET /status HTTP/1.1\r\nHost: learner\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    b"HEAD /metrics?x=%00 HTTP/2.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /" + b"a" * 2000 + b" HTTP/1.0\r\n" + b"X: y\r\n" * 150 + b"\r\n",
]


@pytest.mark.timeout(1800)
def test_status_is_answered_as_ever_after_requests_that_are_none(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = 100_000 if request.config.getoption("--thorough") else 2_000
    chance = random.Random(3)
    endpoints = Endpoints(
        registry=new_registry(), status=lambda: {"steps": 7}, healthy=lambda: None, ready=lambda: None
    )
    server = HttpServer(f"unix:{tmp_path}/h", endpoints)
    server.start()
    begun_at = 0
    for number in range(count):
        if number == count // 4:
            begun_at = resident_bytes()
        assert answer(tmp_path, mutated(REQUESTS, chance))[:5] in (b"", b"HTTP/", b"<!DOC", b'{"ste', b"try /")
    assert resident_bytes() - begun_at < MAY_GROW_BYTES
    status, _, body = answer(tmp_path, REQUESTS[0]).partition(b"\r\n")
    assert status.startswith(b"HTTP/1.0 200")
    assert json.loads(body.rpartition(b"\r\n")[2]) == {"steps": 7}
    server.stop()


def answer(directory: Path, said: bytes) -> bytes:
    """All of it."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE_SECONDS)
        peer.connect(f"{directory}/h")
        got = b""
        try:
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(65536):
                got += part
        except (BrokenPipeError, ConnectionResetError):  # it has heard enough
            pass
        return got


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
