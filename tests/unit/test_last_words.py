"""What learners leave in their termination messages counts as their last report, if it is one."""

import json
from typing import Any

import pytest

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children.names import ATTEMPT_LABEL, LEARNER, pod_labels
from stepstream_operator.controller.observe import observe
from stepstream_operator.controller.watched import Stores
from stepstream_operator.runtime.resources import PODS
from tests.support.jobs import make_job
from tests.support.running_operator import learner_status

JOB = make_job()


def ended_well(log: str) -> dict[str, Any]:
    labels = {**pod_labels(JOB, LEARNER), ATTEMPT_LABEL: "1"}
    metadata = {"namespace": JOB.namespace, "name": "pong-learner-0", "uid": "u", "resourceVersion": "1"}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": log}}
    return {
        "metadata": metadata | {"labels": labels},
        "spec": {"containers": [{"name": "learner"}]},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "learner", "state": ended}]},
    }


@pytest.mark.parametrize(
    ("log", "steps"),
    [
        (json.dumps(learner_status(steps=7)), [7]),
        (json.dumps(learner_status(steps=-7)), []),
        ("Segmentation fault", []),
        ("[1, 2]", []),
        ("[" * 2048, []),
    ],
    ids=["a status", "no status", "words", "a list", "brackets"],
)
def test_last_words_are_a_report_or_nothing(log: str, steps: list[int]) -> None:
    stores = Stores(lambda job: None)
    stores[PODS].put(ended_well(log))
    assert [report.steps for report in observe(stores, JOB, JobStatus(), ()).reports] == steps
