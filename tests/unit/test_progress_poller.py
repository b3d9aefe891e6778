"""The operator asks learners for their /status: whatever one of them does, the others are heard in time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stepstream_operator.controller import progress
from stepstream_operator.controller.progress import POLLERS, ProgressPoller, Target
from stepstream_operator.local.status_client import fetch_status
from stepstream_operator.runtime.store import Key
from tests.support.daemons import eventually

Answer = Callable[[socket.socket], None]
SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""Shorter than what a learner takes that is waited for to its end."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def status(steps: int) -> bytes:
    body = json.dumps({"steps": steps}).encode()
    return HEAD % len(body) + body


def says(answer: bytes) -> Answer:
    return lambda caller: caller.sendall(answer)


def drips(start: bytes) -> Answer:
    """A byte now and then, for ever: no single piece is late."""

    def answer(caller: socket.socket) -> None:
        caller.sendall(start)
        while True:
            caller.sendall(b" ")
            time.sleep(SECONDS / 10)

    return answer


def says_nothing(caller: socket.socket) -> None:
    caller.settimeout(2 * PATIENCE_SECONDS)
    caller.recv(1 << 16)
    caller.recv(1)  # until the caller has gone


class Counting:
    """An answer that can be changed, and how often it was given."""

    def __init__(self) -> None:
        self.answer, self.asked = status(5), 0

    def __call__(self, caller: socket.socket) -> None:
        self.asked += 1
        caller.sendall(self.answer)

    def is_asked(self, more: int) -> None:
        """Wait for so many questions from now on."""
        wanted = self.asked + more
        eventually(lambda: self.asked >= wanted, timeout_seconds=PATIENCE_SECONDS, what=f"{more} more questions")


@contextmanager
def learner(answer: Answer) -> Iterator[str]:
    """A server at the address given, a thread a caller."""

    def serve(caller: socket.socket) -> None:
        with caller:
            try:
                caller.recv(1 << 16)
                answer(caller)
            except OSError:
                return  # the caller has gone

    def accept() -> None:
        while True:
            try:
                caller, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(caller,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


MISBEHAVIOUR = {
    "says nothing": says_nothing,
    "hangs up": lambda caller: None,
    "has no HTTP": says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "fails": says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"),
    "has no JSON": says(HEAD % 9 + b"<html></h"),
    "has no object": says(HEAD % 6 + b"[1, 2]"),
    "nests too deeply": says(HEAD % 200_000 + b"[" * 200_000),
    "stops in the midst of a sentence": says(HEAD % 100 + b'{"steps": '),
    "drips headers": drips(b"HTTP/1.1 200 OK\r\nX: "),
    "drips a body": drips(HEAD % (1 << 30) + b'{"steps": '),
}


@pytest.mark.parametrize("how", MISBEHAVIOUR)
def test_a_learner_that_misbehaves_is_as_one_that_does_not_answer(how: str) -> None:
    with learner(MISBEHAVIOUR[how]) as address:
        began = time.monotonic()
        assert fetch_status(address, SECONDS) is None
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_an_answer_in_pieces_is_heard_if_it_is_whole_in_time() -> None:
    def in_pieces(caller: socket.socket) -> None:
        for byte in status(7):
            caller.sendall(bytes([byte]))
            time.sleep(0.002)

    with learner(in_pieces) as address:
        assert fetch_status(address, PATIENCE_SECONDS) == {"steps": 7}


@pytest.fixture
def told() -> list[Key]:
    return []


@pytest.fixture
def poller(told: list[Key], monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgressPoller]:
    monkeypatch.setattr(progress, "TIMEOUT_SECONDS", SECONDS)
    poller = ProgressPoller(told.append, poll_seconds=0.1)
    poller.start()
    yield poller
    poller.stop()


def target(job: Key, address: str) -> Target:
    return Target(job=job, attempt=1, rank=0, address=address)


def steps(poller: ProgressPoller, job: Key) -> list[int]:
    return [report.status["steps"] for report in poller.latest(job)]


def test_learners_that_hang_hold_up_the_others_for_no_longer_than_their_time(poller: ProgressPoller) -> None:
    with learner(says_nothing) as silent, learner(says(status(5))) as well:
        for number in range(2 * POLLERS):
            job = ("ns", f"silent-{number}")
            poller.follow(job, (target(job, silent),))
        poller.follow(("ns", "well"), (target(("ns", "well"), well),))
        eventually(lambda: steps(poller, ("ns", "well")) == [5], timeout_seconds=PATIENCE_SECONDS, what="the answer")


def test_a_job_is_reconciled_when_its_answer_changes_and_only_then(poller: ProgressPoller, told: list[Key]) -> None:
    job, learns = ("ns", "pong"), Counting()
    with learner(learns) as address:
        poller.follow(job, (target(job, address),))
        eventually(lambda: told, timeout_seconds=PATIENCE_SECONDS, what="the first answer is told")
        learns.is_asked(4)
        assert told == [job]
        learns.answer = status(6)
        eventually(lambda: len(told) == 2, timeout_seconds=PATIENCE_SECONDS, what="the change is told")
        assert steps(poller, job) == [6]


def test_a_learner_that_falls_silent_leaves_its_last_answer(poller: ProgressPoller) -> None:
    job, learns = ("ns", "pong"), Counting()
    with learner(learns) as address:
        poller.follow(job, (target(job, address),))
        eventually(lambda: steps(poller, job) == [5], timeout_seconds=PATIENCE_SECONDS, what="the first answer")
        learns.answer = b"nonsense"
        learns.is_asked(3)
        assert steps(poller, job) == [5]


def test_who_is_not_followed_any_more_is_forgotten_and_asked_no_more(poller: ProgressPoller) -> None:
    gone, stays = ("ns", "gone"), ("ns", "stays")
    left, followed = Counting(), Counting()
    with learner(left) as one, learner(followed) as other:
        poller.follow(gone, (target(gone, one),))
        poller.follow(stays, (target(stays, other),))
        eventually(lambda: steps(poller, gone) == [5], timeout_seconds=PATIENCE_SECONDS, what="the answer")
        poller.follow(gone, ())
        before = left.asked
        followed.is_asked(20)
        assert left.asked <= before + 1, "no more than a question under way"
        assert poller.latest(gone) == ()


def test_a_poller_that_was_stopped_before_it_began_asks_nobody() -> None:
    poller = ProgressPoller(lambda job: None)
    poller.stop()
    poller.start()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("progress-")]
