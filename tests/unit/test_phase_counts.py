"""The gauge of jobs by phase says how many there are, whoever changes them, and whenever it is read."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from stepstream_operator.controller.phase_counts import PhaseCounts

ROUNDS = 2000
WORKERS = 4


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("jobs", "Jobs by phase.", ["phase"], registry=CollectorRegistry())


@pytest.fixture
def threads_alternate_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def told(gauge: Gauge) -> dict[str, float]:
    return {sample.labels["phase"]: sample.value for family in gauge.collect() for sample in family.samples}


def test_a_phase_that_no_job_is_in_has_no_series(gauge: Gauge) -> None:
    counts = PhaseCounts(gauge)
    counts.put(("games", "a"), "Running")
    counts.put(("games", "b"), "Pending")
    counts.put(("games", "b"), "Running")
    assert told(gauge) == {"Running": 2}
    counts.forget(("games", "a"))
    counts.forget(("games", "b"))
    assert told(gauge) == {}


@pytest.mark.usefixtures("threads_alternate_often")
def test_workers_that_count_at_once_miss_no_job_and_hide_none(gauge: Gauge) -> None:
    counts = PhaseCounts(gauge)
    counts.put(("games", "steady"), "Running")

    def work(job: str) -> None:
        for number in range(ROUNDS):
            counts.put(("games", job), ("Pending", "Running")[number % 2])

    workers = [threading.Thread(target=work, args=(f"job-{number}",)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    seen = [told(gauge).get("Running", 0)]
    while any(worker.is_alive() for worker in workers):
        seen.append(told(gauge).get("Running", 0))
    assert min(seen) >= 1
    assert told(gauge) == {"Running": WORKERS + 1}
