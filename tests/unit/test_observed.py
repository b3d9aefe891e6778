"""Raw objects of the API server are read once, however little of them is there."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stepstream_operator.children import LEARNER
from stepstream_operator.status import (
    LearnerJob,
    LearnerReport,
    Pod,
    SimulatorSet,
    Termination,
    learner_report,
    observed_learner_job,
    observed_pod,
    observed_simulator_set,
    previous_status,
)
from stepstream_trainer.config import Mode, to_mapping
from tests.support.jobs import running

LABELS = {"stepstream.dev/role": LEARNER, "stepstream.dev/attempt": "2"}


def raw_pod(*, conditions: list[dict[str, Any]] | None = None, **container: Any) -> dict[str, Any]:
    statuses = [{"name": "side", "state": {"running": {}}}, {"name": "learner", **container}]
    return {
        "metadata": {"name": "p", "uid": "u", "labels": LABELS},
        "spec": {"containers": [{"name": "learner"}, {"name": "side"}]},
        "status": {"conditions": conditions or [], "containerStatuses": statuses},
    }


def pod(**changes: Any) -> Pod:
    return Pod(**({"name": "p", "uid": "u", "role": LEARNER, "attempt": 2} | changes))


ENDED = {"exitCode": 1, "reason": "Error", "message": "log", "finishedAt": "2030-01-01T12:00:00Z"}
ENDED_JOB = {
    "type": "Failed",
    "status": "True",
    "lastTransitionTime": "2030-01-01T12:00:00Z",
    "reason": "PodFailurePolicy",
    "message": "m",
}
END = Termination(exit_code=1, reason="Error", log="log", finished_at=datetime(2030, 1, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (raw_pod(), pod()),
        (raw_pod(state={"running": {}}), pod(running=True)),
        (raw_pod(state={"terminated": ENDED}), pod(termination=END)),
        (
            raw_pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ENDED}),
            pod(waiting="CrashLoopBackOff", termination=END),
        ),
        (raw_pod(conditions=[{"type": "Ready", "status": "True"}]), pod(ready=True)),
        (
            {"metadata": {"name": "p", "annotations": {"batch.kubernetes.io/job-index-failure-count": "2"}}},
            Pod(name="p", role="", earlier_failures=2),
        ),
        (raw_pod(conditions=[{"type": "DisruptionTarget", "status": "True"}]), pod(disrupted=True)),
        (
            raw_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "no cpu"}]),
            pod(unschedulable="no cpu"),
        ),
        ({"metadata": {"name": "p", "uid": "u", "labels": LABELS, "deletionTimestamp": "x"}}, pod(deleting=True)),
        ({"metadata": {"name": "p"}}, Pod(name="p", role="")),
        (
            {
                "metadata": {"name": "p", "ownerReferences": [{"uid": "a"}, {"uid": "b", "controller": True}]},
                "status": {"phase": "Failed"},
            },
            Pod(name="p", role="", controller="b", ended=True),
        ),
    ],
)
def test_a_pod(raw: dict[str, Any], seen: Pod) -> None:
    assert observed_pod(raw) == seen


@pytest.mark.parametrize(
    ("spec", "conditions", "seen"),
    [
        ({}, [], LearnerJob(attempt=2, uid="u")),
        ({"suspend": True}, [{"type": "Suspended", "status": "True"}], LearnerJob(attempt=2, uid="u", held=True)),
        ({}, [{"type": "Complete", "status": "True"}], LearnerJob(attempt=2, uid="u", succeeded=True)),
        (
            {},
            [{"type": "Complete", "status": "True", "lastTransitionTime": "2030-01-01T12:00:00Z"}],
            LearnerJob(attempt=2, uid="u", succeeded=True, ended_at=datetime(2030, 1, 1, 12, tzinfo=UTC)),
        ),
        (
            {},
            [ENDED_JOB],
            LearnerJob(
                attempt=2,
                uid="u",
                failed=True,
                ended_at=datetime(2030, 1, 1, 12, tzinfo=UTC),
                failure_reason="PodFailurePolicy",
                failure_message="m",
            ),
        ),
    ],
)
def test_the_learners_job(spec: dict[str, Any], conditions: list[dict[str, Any]], seen: LearnerJob) -> None:
    raw = {"metadata": {"uid": "u", "labels": LABELS}, "spec": spec, "status": {"conditions": conditions}}
    assert observed_learner_job(raw) == seen


def test_the_simulators_deployment() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    raw = {"spec": {"replicas": 3}, "status": {"conditions": [failure]}}
    assert observed_simulator_set(raw) == SimulatorSet(desired=3, failure="exceeded quota")


def answer() -> dict[str, Any]:
    return {
        "rank": 0,
        "attempt": 2,
        "phase": "Running",
        "message": "",
        "mode": "Sync",
        "steps": 10,
        "frames": 40,
        "updates": 1,
        "stepsPerSecond": 5.5,
        "episodeReturn": None,
        "policyLag": 0.0,
        "checkpoint": {"step": None, "path": None, "time": None, "failures": 0},
    }


def test_a_learners_answer() -> None:
    assert learner_report(answer()) == LearnerReport(
        attempt=2, steps=10, frames=40, updates=1, steps_per_second=5.5, policy_lag=0.0, mode=Mode.Sync
    )


CHECKPOINT = {"step": 3, "path": "checkpoints/3", "time": "2030-01-01T12:00:00Z", "failures": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "Else"},
        {"mode": ["Sync"]},
        {"checkpoint": None},
        {"checkpoint": "none"},
        {"checkpoint": CHECKPOINT | {"step": "3"}},
        {"checkpoint": CHECKPOINT | {"time": "soon"}},
        {"checkpoint": CHECKPOINT | {"time": "0001-01-01T00:00:00Z"}},
        {"checkpoint": CHECKPOINT | {"time": "9999-12-31T23:59:59-12:00"}},
        {"steps": "x"},
        {"steps": -1},
        {"steps": 1.5},
        {"attempt": float("inf")},
        {"rank": -1},
        {"stepsPerSecond": -1.0},
        {"stepsPerSecond": float("inf")},
        {"stepsPerSecond": float("nan")},
        {"episodeReturn": "high"},
        {"episodeReturn": 10**400},
        {"policyLag": []},
    ],
    ids=str,
)
def test_an_answer_that_is_no_learners_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        learner_report(answer() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 10**30, "frames": 10**30, "updates": 10**30},
        {"steps": 0, "stepsPerSecond": 1e-300},
        {"stepsPerSecond": 1e300},
        {"episodeReturn": -1e40, "policyLag": 1e300},
        {"episodeReturn": float("nan"), "policyLag": float("inf")},
        {"message": "half a \ud83d pair " + "x" * 5000},
        {"checkpoint": CHECKPOINT | {"step": 10**30, "path": "x" * 5000}},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_status_that_the_api_server_takes_can_be_made_of_any_other(change: dict[str, Any]) -> None:
    told = [learner_report(answer() | {"attempt": 1, "rank": rank} | change) for rank in range(2)]
    written = to_mapping(running(reports=tuple(told)))
    assert json.dumps(written, ensure_ascii=False).encode()
    assert previous_status({"status": written}).progress is not None
