"""Raw objects of the API server are read once, however little of them is there."""

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
)
from stepstream_trainer.config import Mode

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
            [ENDED_JOB],
            LearnerJob(
                attempt=2,
                uid="u",
                failed=True,
                failed_at=datetime(2030, 1, 1, 12, tzinfo=UTC),
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


@pytest.mark.parametrize("change", [{"mode": "Else"}, {"steps": "x"}, {"checkpoint": None}])
def test_an_answer_that_is_no_learners_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        learner_report(answer() | change)
