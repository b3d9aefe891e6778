"""How long a reflector waits before it lists anew, with time as a parameter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError, RequestFailed, Unreachable
from stepstream_operator.runtime.reflector import Reflector, ReflectorSettings
from stepstream_operator.runtime.resources import CONFIG_MAPS, Object
from stepstream_operator.runtime.store import Store

SETTINGS = ReflectorSettings(backoff_seconds=1.0, longest_backoff_seconds=8.0)
FORBIDDEN = ApiError(code=403, reason="Forbidden", message="no right to watch")
GONE = ApiError(code=410, reason="Expired", message="too old")
BROKEN = Unreachable("reset")
BOOKMARK: Object = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}}


class Watchless(Client):
    """Lists well. Each watch tells of one thing, holds for the next of `lives` seconds, and fails."""

    def __init__(self, error: RequestFailed, lives: list[float]) -> None:
        self.now, self._error, self._lives = 0.0, error, lives

    def list_page(self, *arguments: Any) -> Object:
        return {"items": [], "metadata": {"resourceVersion": "7"}}

    def watch(self, *arguments: Any, **options: Any) -> Iterator[Object]:
        yield BOOKMARK
        self.now += self._lives.pop(0)
        raise self._error


class Pauses(threading.Event):
    """Takes note of how long it is waited for, and does not wait. Set once no watch is left."""

    def __init__(self, lives: list[float]) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._lives = lives

    def is_set(self) -> bool:
        return not self._lives

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return self.is_set()


def pauses(error: RequestFailed, lives: list[float]) -> list[float]:
    stop, client = Pauses(lives), Watchless(error, lives)
    store = Store(lambda item: None, lambda job: None)
    Reflector(client, CONFIG_MAPS, store, settings=SETTINGS, clock=lambda: client.now).run(stop)
    return stop.seconds


@pytest.mark.parametrize("error", [FORBIDDEN, BROKEN], ids=str)
def test_watches_that_fail_again_and_again_cost_ever_fewer_lists_though_these_succeed(error: RequestFailed) -> None:
    limits = [2.0, 4.0, 8.0, 8.0, 8.0]
    seconds = pauses(error, [0.5] * len(limits))
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(seconds, limits, strict=True))


def test_a_version_that_is_too_old_costs_no_wait_once_and_one_like_any_other_where_every_one_is() -> None:
    assert [round(pause) > 0 for pause in pauses(GONE, [0.5] * 4)] == [True] * 3
    assert pauses(GONE, [300.0] * 4) == []


def test_after_a_watch_that_held_for_a_while_the_wait_is_short_again() -> None:
    seconds = pauses(BROKEN, [0.5, 0.5, 0.5, 300.0])
    assert (seconds[2] >= 4.0, seconds[3] <= 2.0) == (True, True)
