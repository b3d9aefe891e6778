"""When to look at a job again though nothing has happened to it."""

from __future__ import annotations

from typing import Any

import pytest

from stepstream_operator.api import TrainingJob
from stepstream_operator.controller.next_look import CLOCK_SECONDS, seconds_until_next_look
from stepstream_operator.status import Observed
from tests.support.jobs import (
    NOW,
    crashed_learner,
    derived,
    later,
    learner_job,
    learner_pod,
    make_job,
    ready_learner,
    running,
    simulator_pod,
)

TWO_LEARNERS = make_job({"learners": {"replicas": 2}})
A_DAY = 24 * 3600.0


def seconds(job: TrainingJob, after: float = 0, *, tls: bool = False, rest: float | None = None, **seen: Any) -> float:
    observed = Observed(**({"previous": running(job), "learner_job": learner_job()} | seen))
    again = seconds_until_next_look(job, observed, later(after), tls=tls, scaling_rest=rest)
    return A_DAY if again is None else again - CLOCK_SECONDS


def test_a_job_that_is_as_it_should_be_is_looked_at_again_for_its_certificates_alone() -> None:
    assert seconds(make_job(), pods=(ready_learner(),)) == A_DAY
    assert seconds(make_job(), pods=(ready_learner(),), tls=True) == 6 * 3600
    assert seconds(make_job(), pods=(ready_learner(),), tls=True, rest=20.0) == 20


@pytest.mark.parametrize(
    "pods",
    [
        (),
        (simulator_pod(ready=True),),
        (ready_learner(),),
        (ready_learner(), crashed_learner(ended=True)),
        (ready_learner(), learner_pod(attempt=0)),
    ],
)
def test_learners_that_their_job_has_not_made_are_asked_after_soon(pods: tuple[Any, ...]) -> None:
    assert seconds(TWO_LEARNERS, pods=pods, tls=True) == 3


@pytest.mark.parametrize(
    "seen",
    [
        {"pods": (ready_learner(), learner_pod())},
        {"pods": (ready_learner(), crashed_learner(exit_code=0, ended=True))},
        {"learner_job": learner_job(held=True)},
        {"learner_job": learner_job(deleting=True)},
        {"learner_job": None},
    ],
)
def test_those_that_were_made_or_should_not_be_are_not(seen: dict[str, Any]) -> None:
    assert seconds(TWO_LEARNERS, **seen) == A_DAY


def test_what_was_refused_is_tried_again_in_half_a_minute_or_at_a_nearer_deadline() -> None:
    job = make_job({"activeDeadlineSeconds": 100})
    assert seconds(job, problems=("exceeded quota",)) == 30
    assert seconds(job, after=90, problems=("exceeded quota",)) == 10


def test_a_finished_job_is_looked_at_again_when_it_expires() -> None:
    job = make_job({"ttlSecondsAfterFinished": 60})
    ended = derived(job, previous=running(job), learner_job=learner_job(succeeded=True))
    assert ended.completion_time == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert seconds(job, previous=ended, learner_job=learner_job(succeeded=True), tls=True) == 60
