"""Which Events follow from two statuses."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from stepstream_operator.api.status_types import Condition, ConditionStatus, ConditionType, Failure, JobStatus
from stepstream_operator.controller.transitions import happenings


def holding(status: JobStatus, *kinds: ConditionType, since: str = "2031-05-01T00:00:00Z") -> JobStatus:
    return replace(status, conditions=tuple(condition(kind, ConditionStatus.True_, since) for kind in kinds))


def lacking(status: JobStatus, kind: ConditionType, since: str = "2031-05-01T00:00:00Z") -> JobStatus:
    return replace(status, conditions=(condition(kind, ConditionStatus.False_, since),))


def condition(kind: ConditionType, status: ConditionStatus, since: str) -> Condition:
    return Condition(type=kind, status=status, last_transition_time=since, reason="Because")


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


def test_waiting_in_a_queue_and_being_let_go_are_told() -> None:
    queued = lacking(RUNNING, ConditionType.Admitted)
    assert reasons(RUNNING, queued) == ["Queued"]
    assert reasons(queued, queued) == []
    assert reasons(queued, holding(RUNNING, ConditionType.Admitted)) == ["Admitted"]


def test_a_job_that_was_never_queued_is_not_told_as_admitted() -> None:
    assert reasons(RUNNING, holding(RUNNING, ConditionType.Admitted)) == []


def test_trouble_is_told_when_it_comes_and_when_it_goes() -> None:
    degraded = holding(RUNNING, ConditionType.Degraded)
    assert reasons(RUNNING, degraded) == ["Degraded"]
    assert reasons(degraded, lacking(RUNNING, ConditionType.Degraded)) == ["Recovered"]


@pytest.mark.parametrize("kind", [ConditionType.Complete, ConditionType.Failed, ConditionType.Suspended])
def test_trouble_that_goes_because_the_job_stops_is_not_told_as_over(kind: ConditionType) -> None:
    assert reasons(holding(RUNNING, ConditionType.Degraded), holding(RUNNING, kind)) == [kind.value]


def test_what_happens_twice_in_an_attempt_has_two_occasions() -> None:
    for kind in (ConditionType.Ready, ConditionType.Degraded):
        [first] = happenings(RUNNING, holding(RUNNING, kind, since="2031-05-01T00:00:00Z"))
        [second] = happenings(RUNNING, holding(RUNNING, kind, since="2031-05-01T07:00:00Z"))
        assert first.occasion != second.occasion


def test_attempts_that_are_ready_within_a_second_are_told_one_by_one() -> None:
    told = [
        next(each.occasion for each in happenings(status, holding(status, ConditionType.Ready)))
        for status in (JobStatus(attempt=2), JobStatus(attempt=3))
    ]
    assert told[0] != told[1]


def test_so_has_a_job_that_its_queue_stops_and_lets_go_again() -> None:
    kind, times = ConditionType.Admitted, [f"2031-05-01T0{hour}:00:00Z" for hour in range(4)]
    states = [(holding if let_go else lacking)(RUNNING, kind, since=times[n]) for n, let_go in enumerate((1, 0, 1, 0))]
    told = [each for before, after in pairwise(states) for each in happenings(before, after)]
    assert [each.reason for each in told] == ["Queued", "Admitted", "Queued"]
    assert len({each.occasion for each in told}) == 3


def test_the_page_explains_every_event_and_no_other() -> None:
    root = Path(__file__).parents[2]
    sources = (root / "operator" / "stepstream_operator" / "controller").glob("*.py")
    told = {reason for source in sources for reason in re.findall(r'Happening\(reason="(\w+)"', source.read_text())}
    page = (root / "docs" / "troubleshooting.md").read_text()
    [table] = re.findall(r"\| event \| meaning \|\n(.*?)\n\n", page, flags=re.DOTALL)
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == told
