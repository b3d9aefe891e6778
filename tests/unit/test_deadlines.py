"""What time alone changes about a job, and when."""

from dataclasses import replace
from datetime import datetime

import pytest

from stepstream_operator.api.status_types import Failure, JobStatus
from stepstream_operator.status import Observed, derive_job_status, expiry, learners_due, next_deadline
from stepstream_operator.status.words import decimal, duration, short_count, three_digits
from tests.support.jobs import NOW, later, learner_job, make_job


def ended() -> JobStatus:
    begun = derive_job_status(make_job(), Observed(), NOW)
    return derive_job_status(make_job(), Observed(previous=begun, learner_job=learner_job(succeeded=True)), NOW)


def restarting(restarts: int) -> JobStatus:
    failure = Failure(attempt=restarts, time="2030-01-01T12:00:00Z")
    return JobStatus(attempt=restarts + 1, restarts=restarts, failure=failure)


def test_a_finished_job_expires_after_its_ttl() -> None:
    assert expiry(make_job({"ttlSecondsAfterFinished": 60}), ended()) == later(60)
    assert expiry(make_job({"ttlSecondsAfterFinished": 60}), JobStatus()) is None
    assert expiry(make_job(), ended()) is None


@pytest.mark.parametrize(
    ("restarts", "due"), [(1, None), (2, later(10)), (3, later(20)), (4, later(40)), (99, later(300))]
)
def test_restarts_wait_longer_and_longer(restarts: int, due: datetime | None) -> None:
    assert learners_due(restarting(restarts)) == due


def test_a_resume_waits_for_nothing() -> None:
    assert learners_due(replace(restarting(4), attempt=6)) is None


def test_the_next_deadline_is_the_nearest_that_is_still_to_come() -> None:
    job = make_job(
        {"activeDeadlineSeconds": 100, "pendingDeadlineSeconds": 50}, creationTimestamp="2030-01-01T12:00:00Z"
    )
    seen = Observed(previous=derive_job_status(job, Observed(), NOW))
    assert next_deadline(job, seen, NOW) == later(50)
    assert next_deadline(job, seen, later(50)) == later(100)
    assert next_deadline(make_job(), seen, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (59, "59s"), (60, "1m"), (4800, "1h20m"), (86_400, "1d"), (90_061, "1d1h")]
)
def test_durations_for_people(seconds: int, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0"), (999, "999"), (1000, "1.0k"), (12_400_000, "12.4M"), (10**12, "1.0T")]
)
def test_counts_for_people(number: int, words: str) -> None:
    assert short_count(number) == words


def test_numbers_are_rounded_to_what_is_worth_writing() -> None:
    assert [three_digits(number) for number in (0.4, 7.6, 412.7, 41_237.6)] == [0, 8, 413, 41_200]
    assert [decimal(number) for number in (18.34, 20.0, -0.01, -20.96)] == ["18.3", "20", "0", "-21"]
