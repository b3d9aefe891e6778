"""The work queue, with time as a parameter."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from stepstream_operator.metrics import OperatorMetrics
from stepstream_operator.runtime.queue import WorkQueue
from tests.support.daemons import eventually


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(backoff_seconds=1.0, longest_backoff_seconds=8.0, clock=clock)


def test_a_key_added_twice_is_worked_on_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert [queue.get(0), queue.get(0)] == ["a", None]


def test_keys_are_served_in_the_order_they_came(queue: WorkQueue[str]) -> None:
    for key in "cab":
        queue.add(key)
    assert [queue.get(0) for _ in range(3)] == ["c", "a", "b"]


def test_a_key_in_work_is_given_to_nobody_else_until_it_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"


def test_a_delayed_key_comes_when_it_is_due(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    assert queue.get(0) is None
    clock.now = 5.0
    assert queue.get(0) == "a"


def test_of_several_delays_the_shortest_holds(queue: WorkQueue[str], clock: Clock) -> None:
    for delay in (9.0, 3.0, 6.0):
        queue.add_after("a", delay)
    clock.now = 3.0
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now = 20.0
    assert queue.get(0) is None


def test_adding_a_key_at_once_replaces_its_delay(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    queue.add("a")
    assert queue.get(0) == "a"
    queue.done("a")
    clock.now = 10.0
    assert queue.get(0) is None


def test_delays_that_were_replaced_take_no_room(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("b", 6 * 3600.0)
    for _ in range(1000):
        queue.add_after("a", 6 * 3600.0)
        queue.add("a")
        assert queue.get(0) == "a"
        queue.done("a")
    assert len(queue._delayed) < 100
    clock.now = 6 * 3600.0
    assert [queue.get(0), queue.get(0)] == ["b", None]


def test_failures_back_off_exponentially_to_a_limit(queue: WorkQueue[str]) -> None:
    delays = [queue.retry("a") for _ in range(6)]
    limits = [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert all(limit / 2 <= delay <= limit for delay, limit in zip(delays, limits, strict=True))


def test_success_starts_the_back_off_afresh(queue: WorkQueue[str]) -> None:
    for _ in range(5):
        queue.retry("a")
    queue.succeeded("a")
    assert queue.retry("a") <= 1.0


def test_what_goes_through_a_queue_is_counted_and_its_wait_is_timed(clock: Clock) -> None:
    metrics = OperatorMetrics()
    queue: WorkQueue[str] = WorkQueue(clock=clock, observer=metrics)

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"stepstream_operator_queue_{name}")

    for key in "aab":
        queue.add(key)
    assert (value("adds_total"), value("depth"), value("wait_seconds_count")) == (2, 2, 0)
    clock.now = 3.0
    assert queue.get(0) == "a"
    queue.retry("a")
    assert (value("depth"), value("retries_total")) == (1, 1)
    assert (value("wait_seconds_count"), value("wait_seconds_sum")) == (1, 3.0)


def test_closing_wakes_every_waiting_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    answers: list[str | None] = []
    workers = [threading.Thread(target=lambda: answers.append(queue.get())) for _ in range(3)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(60)
    assert answers == [None] * 3


def test_no_key_is_worked_on_by_two_workers_at_once_and_none_is_lost() -> None:
    queue: WorkQueue[int] = WorkQueue()
    lock, at_work, seen, clashes = threading.Lock(), set[int](), set[int](), list[int]()

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                clashes.extend({key} & at_work)
                at_work.add(key)
            with lock:
                at_work.discard(key)
                seen.add(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(2000):
        queue.add(number % 50)
    eventually(lambda: seen == set(range(50)), timeout_seconds=60, what="every key is worked on")
    queue.close()
    for worker in workers:
        worker.join(60)
    assert clashes == []
