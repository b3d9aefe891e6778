"""How far a job is, and that its status can be written, read and written again."""

from dataclasses import replace
from typing import Any

import pytest

from stepstream_operator.api.status_types import ConditionType
from stepstream_operator.children import SIMULATOR
from stepstream_operator.status import Observed, derive_status, previous_status, refused_status
from stepstream_trainer.config import ConfigurationErrors, FieldError, Mode
from tests.support.jobs import NOW, derived, learner_job, make_job, ready_learner, report, running, simulator_pod


def test_progress_is_told_in_numbers_and_for_people() -> None:
    job = make_job({"totalSteps": 20_000_000})
    told = report(updates=97, steps_per_second=41_237.6, episode_return=18.34, policy_lag=0.0, mode=Mode.Sync)
    progress = running(job, reports=(told,)).progress
    assert progress is not None
    assert (progress.steps, progress.steps_summary, progress.frames) == (12_400_000, "12.4M", 49_600_000)
    assert (progress.steps_per_second, progress.episode_return, progress.policy_lag) == (41_200, "18.3", "0")
    assert (progress.percent, progress.estimated_remaining_seconds, progress.remaining) == ("62%", 184, "3m4s")


def test_rank_0_tells_the_jobs_totals() -> None:
    job = make_job({"learners": {"replicas": 2}})
    whole, part = report(steps=2000, checkpoint_step=9), report(rank=1, steps=900, checkpoint_step=7)
    seen = {"learner_job": learner_job(), "reports": (whole, part)}
    told = derived(job, previous=derived(job), **seen)
    assert told.progress is not None
    assert told.checkpoint is not None
    assert (told.progress.steps, told.checkpoint.step) == (2000, 9)
    later = derived(job, seconds=60, previous=told, learner_job=learner_job(), reports=(part,))
    assert (later.progress, later.checkpoint) == (told.progress, told.checkpoint), "what was known stays"


def test_no_number_of_a_status_is_a_float() -> None:
    told = derive_status(make_job(), Observed(previous=running(), reports=(report(episode_return=1.5),)), NOW)
    assert not [value for value in flattened(told) if isinstance(value, float)]


def flattened(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flattened(item)]
    return [leaf for item in value for leaf in flattened(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize(("seconds", "steps"), [(14, 12_400_000), (15, 13_000_000)])
def test_progress_is_written_every_15_seconds_at_most(seconds: float, steps: int) -> None:
    first = running(reports=(report(),))
    seen = {"learner_job": learner_job(), "pods": (ready_learner(),), "reports": (report(steps=13_000_000),)}
    progress = derived(seconds=seconds, previous=first, **seen).progress
    assert progress is not None
    assert progress.steps == steps


def test_the_end_is_told_at_once() -> None:
    first = running(reports=(report(),))
    ended = derived(seconds=1, previous=first, learner_job=learner_job(succeeded=True), reports=(report(steps=9),))
    assert ended.progress is not None
    assert ended.progress.steps == 9


def test_a_report_of_an_earlier_attempt_is_not_listened_to() -> None:
    second = replace(running(), attempt=2)
    assert derived(previous=second, reports=(report(attempt=1),)).progress is None


def test_progress_and_checkpoint_outlive_the_learner() -> None:
    written = report(checkpoint_step=12_000_000, checkpoint_path="c/12", checkpoint_time="2030-01-01T11:58:00.5+00:00")
    first = running(reports=(written,))
    lost = derived(seconds=60, previous=first, learner_job=learner_job())
    assert lost.progress == first.progress
    assert lost.checkpoint == first.checkpoint
    assert first.checkpoint is not None
    assert first.checkpoint.time == "2030-01-01T11:58:00Z"


def test_the_mode_is_what_learners_say_and_unknown_before_where_it_is_left_to_them() -> None:
    assert derived().mode is None
    assert derived(make_job({"mode": "Sync"})).mode is Mode.Sync
    assert running(reports=(report(mode=Mode.Async),)).mode is Mode.Async


def test_pods_are_counted_and_selected() -> None:
    pods = (simulator_pod(ready=True), simulator_pod(), simulator_pod(deleting=True, ready=True))
    simulators = derived(make_job({"simulators": {"replicas": 3}}), pods=pods).simulators
    assert (simulators.desired, simulators.replicas, simulators.ready, simulators.summary) == (3, 2, 1, "1/3")
    assert simulators.selector == f"stepstream.dev/job=pong,stepstream.dev/role={SIMULATOR}"


def test_a_status_survives_being_written_and_read_again() -> None:
    full = running(reports=(report(episode_return=1.0, checkpoint_step=3),))
    told = derive_status(make_job(), Observed(previous=full, learner_job=learner_job()), NOW)
    read = previous_status({"status": told})
    assert derive_status(make_job(), Observed(previous=read, learner_job=learner_job()), NOW) == told


def test_a_spec_that_cannot_be_worked_with_is_not_accepted_and_nothing_else_changes() -> None:
    errors = ConfigurationErrors([FieldError(path="spec.seed", problem="must be an integer")])
    told = previous_status({"status": refused_status(running(), errors, 2, NOW)})
    assert not told.holds(ConditionType.Accepted)
    assert (told.message, told.attempt) == ("spec.seed: must be an integer", 1)
    assert told.holds(ConditionType.Ready)
