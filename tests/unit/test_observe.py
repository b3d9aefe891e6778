"""Of all that lies in the stores under a job's name, only what is this very job's is seen."""

from __future__ import annotations

from typing import Any

import pytest

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children import LEARNER, Manifest, cluster_placement, desired_children, workload
from stepstream_operator.children.names import COMPLETION_INDEX
from stepstream_operator.controller.observe import observe, targets
from stepstream_operator.controller.watched import RESOURCE_OF_KIND, Stores
from stepstream_operator.runtime.resources import PODS
from stepstream_operator.status import Observed
from tests.support.jobs import make_job

FIRST, SECOND = make_job(), make_job(uid="of-the-second")


def stores_with(*objects: Manifest) -> Stores:
    stores = Stores(lambda job: None)
    for version, item in enumerate(objects, start=1):
        item["metadata"] |= {"uid": f"uid-{version}", "resourceVersion": str(version)}
        stores[RESOURCE_OF_KIND[item["kind"]]].put(item)
    return stores


def children(job: TrainingJob) -> list[Manifest]:
    return desired_children(job, 1, cluster_placement(job, tls=True))


def pod_of(job: TrainingJob, role: str = LEARNER, **labels: str) -> dict[str, Any]:
    """A running pod made from the job's template."""
    template = workload(children(job), role)["spec"]["template"]
    metadata = {"name": f"pong-{role}", "namespace": "games", "labels": template["metadata"]["labels"] | labels}
    return {"kind": PODS.kind, "metadata": metadata, "spec": template["spec"], "status": {"phase": "Running"}}


def owned(pod: dict[str, Any], controller: str) -> dict[str, Any]:
    pod["metadata"]["ownerReferences"] = [{"uid": controller, "controller": True}]
    return pod


def seen(stores: Stores, job: TrainingJob) -> Observed:
    return observe(stores, job, JobStatus(attempt=1), ())


def test_a_jobs_own_children_and_pods_are_seen() -> None:
    observed = seen(stores_with(*children(FIRST), pod_of(FIRST)), FIRST)
    assert observed.learner_job is not None
    assert observed.simulator_set is not None
    assert [pod.role for pod in observed.pods] == [LEARNER]


def test_what_an_earlier_job_of_the_name_left_is_not() -> None:
    observed = seen(stores_with(*children(FIRST), pod_of(FIRST)), SECOND)
    assert (observed.learner_job, observed.simulator_set, observed.pods) == (None, None, ())


def test_only_a_jobs_own_learners_are_asked_for_their_progress() -> None:
    stores = stores_with(pod_of(FIRST))
    assert [target.address for target in targets(stores, FIRST, 1, lambda pod: "there:1")] == ["there:1"]
    assert targets(stores, SECOND, 1, lambda pod: "there:1") == ()


def test_a_pod_whose_rank_is_no_number_is_not_asked() -> None:
    stores = stores_with(pod_of(FIRST, **{COMPLETION_INDEX: "first"}))
    assert targets(stores, FIRST, 1, lambda pod: "there:1") == ()


def test_the_learners_of_the_job_that_is_there_are_no_strays() -> None:
    learner_job = workload(children(FIRST), LEARNER)
    assert seen(stores_with(learner_job, owned(pod_of(FIRST), "uid-1")), FIRST).strays == ()


@pytest.mark.parametrize("job", [FIRST, SECOND], ids=["its own", "an earlier job's"])
@pytest.mark.parametrize("controller", ["a Job that is gone", ""])
def test_learners_of_any_other_job_are_until_they_have_ended(job: TrainingJob, controller: str) -> None:
    pod = owned(pod_of(FIRST), controller)
    assert [stray.uid for stray in seen(stores_with(pod), job).strays] == ["uid-1"]
    ended = pod | {"status": {"phase": "Succeeded"}}
    assert seen(stores_with(ended), job).strays == ()
