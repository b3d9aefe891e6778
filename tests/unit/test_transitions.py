"""Which Events follow from two statuses."""

from dataclasses import replace

from stepstream_operator.api.status_types import Condition, ConditionStatus, ConditionType, Failure, JobStatus
from stepstream_operator.controller.transitions import happenings


def holding(status: JobStatus, *kinds: ConditionType) -> JobStatus:
    conditions = tuple(
        Condition(
            type=kind, status=ConditionStatus.True_, last_transition_time="2031-05-01T00:00:00Z", reason="Because"
        )
        for kind in kinds
    )
    return replace(status, conditions=conditions)


def reasons(before: JobStatus, after: JobStatus) -> list[str]:
    return [happening.reason for happening in happenings(before, after)]


RUNNING = JobStatus(attempt=1)


def test_nothing_is_told_where_nothing_changed() -> None:
    assert reasons(RUNNING, RUNNING) == []


def test_a_first_attempt_is_a_start() -> None:
    assert reasons(JobStatus(), RUNNING) == ["Started"]


def test_a_restart_is_told_with_its_cause_and_is_no_resume() -> None:
    after = JobStatus(attempt=2, restarts=1, failure=Failure(message="learner failed with exit code 1"))
    (told,) = happenings(RUNNING, after)
    assert (told.reason, told.warning) == ("Restarting", True)
    assert told.note == "learner failed with exit code 1; attempt 2 begins (restart 1)"


def test_suspending_and_resuming_are_told_once_each() -> None:
    suspended = holding(RUNNING, ConditionType.Suspended)
    assert reasons(RUNNING, suspended) == ["Suspended"]
    assert reasons(suspended, suspended) == []
    assert reasons(suspended, JobStatus(attempt=2)) == ["Resumed"]


def test_an_end_is_told() -> None:
    assert reasons(RUNNING, holding(RUNNING, ConditionType.Complete)) == ["Complete"]
    assert reasons(RUNNING, holding(RUNNING, ConditionType.Failed)) == ["Failed"]
