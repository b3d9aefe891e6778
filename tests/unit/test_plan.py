"""What is done so that children become what they should be; never two sets of learners at once."""

import copy
from typing import Any

import pytest

from stepstream_operator.api import TrainingJob
from stepstream_operator.children import Manifest, cluster_placement, desired_children
from stepstream_operator.plan import Gates, Plan, orphans_to_remove, plan, plan_finished, simulators_to_replace
from stepstream_operator.status import Pod, Termination
from tests.support.jobs import UID, later, learner_pod, make_job, simulator_pod

NOTHING_STARTS = Gates(learners=False, simulators=False)


def desired(job: TrainingJob, attempt: int = 1) -> list[Manifest]:
    return desired_children(job, attempt, cluster_placement(job, tls=True))


def existing(job: TrainingJob, attempt: int = 1, **changes: dict[str, Any]) -> list[Manifest]:
    """The job's children as the API server would hold them; `changes` are laid over the spec of a kind's."""
    children = copy.deepcopy(desired(job, attempt))
    for child in children:
        child["metadata"]["uid"] = f"uid-of-{child['kind']}"
        if child["kind"] in changes:
            child["spec"] |= changes[child["kind"]]
    return children


def planned(job: TrainingJob, observed: list[Manifest], attempt: int = 1, gates: Gates | None = None) -> Plan:
    return plan(job, desired(job, attempt), observed, gates or Gates())


def kinds(manifests: Any) -> list[str]:
    return [manifest["kind"] if isinstance(manifest, dict) else manifest.kind for manifest in manifests]


def found(children: list[Manifest], kind: str) -> Manifest:
    return next(child for child in children if child["kind"] == kind)


def test_a_new_job_gets_all_its_children_in_order() -> None:
    assert planned(make_job(), []).creates == tuple(desired(make_job()))


def test_what_is_as_it_should_be_is_left_alone() -> None:
    assert planned(make_job(), existing(make_job())).is_empty


def test_nothing_is_started_before_its_time() -> None:
    created = kinds(planned(make_job(), [], gates=NOTHING_STARTS).creates)
    assert created == ["ConfigMap", "Service", "NetworkPolicy", "PodDisruptionBudget"]


def test_a_closed_gate_does_not_stop_what_runs() -> None:
    running = existing(make_job())
    wider = make_job({"simulators": {"replicas": 16}})
    patches = planned(wider, running, gates=NOTHING_STARTS).patches
    assert found(list(patches), "Deployment")["spec"]["replicas"] == 16


def test_simulators_that_were_put_to_rest_wait_for_learners() -> None:
    resting = existing(make_job(), Deployment={"replicas": 0})
    assert planned(make_job(), resting, gates=Gates(simulators=False)).is_empty
    assert kinds(planned(make_job(), resting).patches) == ["Deployment"]


def test_a_queue_that_takes_learners_back_gets_the_simulators_quota_too() -> None:
    preempted = Gates(simulators=False, held=True)
    patches = planned(make_job(), existing(make_job()), gates=preempted).patches
    assert [patch["spec"]["replicas"] for patch in patches] == [0]
    assert planned(make_job(), existing(make_job(), Deployment={"replicas": 0}), gates=preempted).is_empty
    assert "Deployment" not in kinds(planned(make_job(), [], gates=preempted).creates)


def test_drift_is_repaired() -> None:
    drifted = existing(make_job(), Service={"publishNotReadyAddresses": False}, Job={"parallelism": 0})
    assert kinds(planned(make_job(), drifted).patches) == ["Service", "Job"]


def test_learners_of_another_attempt_are_deleted_before_the_new_ones_are_made() -> None:
    first = existing(make_job(), attempt=1)
    step = planned(make_job(), first, attempt=2)
    assert (kinds(step.deletes), kinds(step.creates)) == (["Job"], [])
    assert (step.deletes[0].uid, step.deletes[0].propagation) == ("uid-of-Job", "Foreground")
    without = [child for child in first if child["kind"] != "Job"]
    assert kinds(planned(make_job(), without, attempt=2).creates) == ["Job"]


def test_what_is_being_deleted_is_waited_for() -> None:
    leaving = existing(make_job(), attempt=1)
    found(leaving, "Job")["metadata"]["deletionTimestamp"] = "2030-01-01T12:00:00Z"
    assert planned(make_job(), leaving, attempt=2).is_empty


def test_a_running_learners_template_is_never_changed() -> None:
    changed = make_job({"image": "other:2", "learners": {"resources": {"limits": {"cpu": 4}}}})
    step = planned(changed, existing(make_job()))
    assert kinds(step.patches) == ["Deployment"]


def test_a_queues_hold_on_learners_is_left_to_the_queue() -> None:
    queued = make_job(labels={"kueue.x-k8s.io/queue-name": "team"})
    assert planned(queued, existing(queued, Job={"suspend": False})).is_empty


@pytest.mark.parametrize(
    "before",
    [
        {"simulators": {"resources": {"limits": {"cpu": 1}}}},
        {"simulators": {"template": {"spec": {"nodeSelector": {"pool": "cheap"}}}}},
        {"simulators": {"template": {"metadata": {"annotations": {"a": "b"}}}}},
    ],
)
def test_what_is_taken_out_of_a_job_is_taken_out_of_its_children(before: dict[str, Any]) -> None:
    assert kinds(planned(make_job(), existing(make_job(before))).patches) == ["Deployment"]


def test_what_others_add_to_a_child_is_theirs() -> None:
    children = existing(make_job(), Deployment={"progressDeadlineSeconds": 9})
    found(children, "Job")["metadata"]["labels"]["team"] = "a"
    found(children, "Deployment")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    assert planned(make_job(), children).is_empty


IN_QUEUE = {"labels": {"kueue.x-k8s.io/queue-name": "team"}}


def test_a_held_job_that_is_taken_out_of_its_queue_starts() -> None:
    held = existing(make_job(**IN_QUEUE), Job={"suspend": True}, Deployment={"replicas": 0})
    job = found(list(planned(make_job(), held).patches), "Job")
    assert job["spec"]["suspend"] is False
    assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]


def test_a_held_job_may_be_given_to_another_queue_and_stays_held() -> None:
    held = existing(make_job(**IN_QUEUE), Job={"suspend": True})
    job = found(list(planned(make_job(labels={"kueue.x-k8s.io/queue-name": "other"}), held).patches), "Job")
    assert (job["spec"]["suspend"], job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]) == (True, "other")


@pytest.mark.parametrize(("before", "after"), [(IN_QUEUE, {}), ({}, IN_QUEUE)], ids=["out", "in"])
def test_what_runs_keeps_its_queue(before: dict[str, Any], after: dict[str, Any]) -> None:
    running = existing(make_job(**before), Job={"suspend": False})
    assert planned(make_job(**after), running).is_empty


def test_a_job_that_somebody_else_holds_is_left_to_them() -> None:
    assert planned(make_job(), existing(make_job(), Job={"suspend": True})).is_empty


def test_a_claim_that_was_enlarged_stays_so() -> None:
    job = make_job({"checkpoint": {"volume": {"claimTemplate": {"size": "1Gi"}}}})
    larger = existing(job, PersistentVolumeClaim={"resources": {"requests": {"storage": "9Gi"}}})
    assert planned(job, larger).is_empty


def test_suspending_deletes_learners_and_puts_simulators_to_rest() -> None:
    step = planned(make_job({"suspend": True}), existing(make_job()))
    assert kinds(step.deletes) == ["Job"]
    assert [patch["spec"]["replicas"] for patch in step.patches] == [0]


@pytest.mark.parametrize("kind", ["Secret", "PersistentVolumeClaim"])
def test_certificates_and_claims_are_never_deleted_for_not_being_desired(kind: str) -> None:
    left = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "pong-x", "ownerReferences": [{"uid": UID}]}}
    assert planned(make_job(), [*existing(make_job()), left]).is_empty


def test_an_object_of_somebody_else_under_a_childs_name_is_not_touched_but_told() -> None:
    foreign = existing(make_job())
    del found(foreign, "ConfigMap")["metadata"]["ownerReferences"]
    step = planned(make_job(), foreign)
    assert step.is_empty
    told = "ConfigMap pong-config exists already and is not this job's: delete it, or give the job another name"
    assert step.problems == (told,)


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "Job", "Deployment"])
def test_nothing_is_started_beside_what_an_earlier_job_of_the_name_left(kind: str) -> None:
    job = make_job(uid="of-the-second")
    left = found(existing(make_job()), kind)
    step = planned(job, [left])
    assert not {"Job", "Deployment"} & set(kinds(step.creates))
    assert step.deletes == step.patches == ()
    assert step.problems == (f"{kind} {left['metadata']['name']} of an earlier job of this name is not gone yet",)


def ended(job: TrainingJob, kind: str = "Complete") -> list[Manifest]:
    children = existing(job)
    found(children, "Job")["status"] = {"conditions": [{"type": kind, "status": "True"}]}
    return children


@pytest.mark.parametrize(
    ("policy", "removed"), [("Running", ["Deployment"]), ("All", ["Job", "Deployment"]), ("None", [])]
)
def test_the_cleanup_policy_says_what_goes_with_the_end(policy: str, removed: list[str]) -> None:
    job = make_job({"cleanupPolicy": policy})
    assert kinds(plan_finished(job, ended(job)).deletes) == removed


def test_learners_that_outlived_their_deadline_are_stopped_whatever_the_policy() -> None:
    job = make_job({"cleanupPolicy": "None"})
    assert kinds(plan_finished(job, existing(job)).deletes) == ["Job"]


def looping(exit_code: int, lived_seconds: float, reason: str = "Error") -> Pod:
    end = Termination(exit_code=exit_code, reason=reason, started_at=later(0), finished_at=later(lived_seconds))
    return simulator_pod(waiting="CrashLoopBackOff", termination=end)


@pytest.mark.parametrize(
    ("pod", "replaced"),
    [
        (looping(137, 2), True),
        (looping(143, 2), True),
        (looping(1, 60), True),
        (looping(1, 2), False),
        (looping(137, 2, "OOMKilled"), False),
        (looping(137, 60, "OOMKilled"), True),
        (simulator_pod(ready=True), False),
        (simulator_pod(waiting="CrashLoopBackOff"), False),
    ],
)
def test_a_simulator_that_did_work_is_replaced_at_once_and_one_that_cannot_start_is_not(
    pod: Pod, replaced: bool
) -> None:
    assert bool(simulators_to_replace([pod], "games")) == replaced


def test_learners_that_nothing_would_ever_end_are_deleted_and_those_of_a_job_or_on_their_way_are_not() -> None:
    strays = [learner_pod(uid="lost"), learner_pod(controller="j1"), learner_pod(deleting=True)]
    assert [deletion.uid for deletion in orphans_to_remove(strays, "games")] == ["lost"]
