"""The one thread that talks to a store: nobody else ever waits longer than they want to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stepstream_trainer.learner import store_client
from stepstream_trainer.learner.store_client import StoreClient, StoreGoneError, StoreSilentError
from tests.support.daemons import eventually

PATIENCE_SECONDS = 60.0


class EnoughError(Exception):
    """Breaks a waiting off."""


def go_on() -> None:
    pass


def enough() -> None:
    raise EnoughError


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end, whatever waits for it."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_SECONDS", "BEAT_SECONDS", "CONNECT_AGAIN_SECONDS"):
        monkeypatch.setattr(store_client, name, 0.01)


def client_of(connect: Callable[[], Any] = dict, silence_seconds: float = 60.0) -> StoreClient:
    client = StoreClient(connect, silence_seconds=silence_seconds)
    client.start()
    return client


def fails(error: Exception) -> Any:
    raise error


def hangs(released: threading.Event) -> Callable[[Any], object]:
    return lambda store: released.wait(PATIENCE_SECONDS)


def is_heard(client: StoreClient) -> bool:
    """Checked at a moment at which this process has not stood still for the second that the store is given."""
    try:
        client.check()
    except StoreSilentError:
        return False
    return True


def test_what_is_asked_is_answered_by_one_thread() -> None:
    client = client_of(lambda: {"a": 1})
    client.tell(lambda store: store.update(b=2))  # type: ignore[attr-defined]
    assert client.ask(dict, go_on) == {"a": 1, "b": 2}  # type: ignore[arg-type]
    assert client.ask(lambda store: threading.current_thread().name, go_on) == "board"
    client.close()


def test_whoever_waits_for_a_store_that_hangs_can_break_off(released: threading.Event) -> None:
    client = client_of()
    with pytest.raises(EnoughError):
        client.ask(hangs(released), enough)
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < PATIENCE_SECONDS / 2, "the thread that hangs is left behind"


def test_a_store_that_answers_no_beat_is_silent(released: threading.Event) -> None:
    client = client_of(silence_seconds=1.0)
    beats = threading.Event()
    client.beat_with(lambda store: beats.set())
    assert beats.wait(PATIENCE_SECONDS)
    eventually(lambda: is_heard(client), timeout_seconds=PATIENCE_SECONDS, what="its beats are heard")
    client.tell(hangs(released))
    with pytest.raises(StoreSilentError):
        client.ask(lambda store: None, go_on)
    with pytest.raises(StoreSilentError):
        client.check()


def test_a_store_that_fails_is_gone_for_all_who_wait_and_ask_later(released: threading.Event) -> None:
    client = client_of()
    with pytest.raises(StoreGoneError):
        client.ask(lambda store: fails(RuntimeError("connection reset")), go_on)
    for _ in range(2):
        with pytest.raises(StoreGoneError):
            client.ask(lambda store: None, go_on)
    with pytest.raises(StoreGoneError):
        client.check()


def test_connecting_is_tried_until_somebody_listens() -> None:
    attempts = iter([ConnectionRefusedError(), OSError(), None])

    def connect() -> Any:
        error = next(attempts)
        return {} if error is None else fails(error)

    client = client_of(connect)
    assert client.connected.wait(PATIENCE_SECONDS)
    assert client.ask(lambda store: 7, go_on) == 7
    client.close()


def test_what_else_is_wrong_with_connecting_is_told_to_whoever_waits() -> None:
    is_asked = threading.Event()

    def connect() -> Any:
        assert is_asked.wait(PATIENCE_SECONDS)
        raise ValueError("no such address")

    client = client_of(connect)
    for _ in range(2):
        with pytest.raises(ValueError, match="no such address"):
            client.ask(lambda store: None, is_asked.set)


def test_what_was_asked_before_the_client_was_closed_is_still_done() -> None:
    connecting, done = threading.Event(), threading.Event()

    def connect() -> Any:
        connecting.set()
        time.sleep(0.1)  # all that follows happens meanwhile
        return {}

    client = client_of(connect)
    assert connecting.wait(PATIENCE_SECONDS)
    client.beat_with(lambda store: None)
    client.tell(lambda store: done.set())
    client.close()
    assert done.wait(PATIENCE_SECONDS)
