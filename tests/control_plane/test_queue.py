"""Jobs that Kueue holds back, lets go and takes back, and jobs that another controller manages."""

from __future__ import annotations

import pytest

from stepstream_operator.api.status_types import ConditionType
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS, PODS, TRAINING_JOBS, Object
from tests.support.daemons import eventually
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]


def queued() -> Object:
    job = manifest()
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "high"}
    return job


def kueue_lets_it(cluster: Cluster, *, run: bool) -> None:
    """Kueue writes a Job's own `suspend`, and nothing else of it that matters here."""
    cluster.admin.merge(JOBS, cluster.namespace, "pong-learner", {"spec": {"suspend": not run}})


def test_a_job_managed_by_another_controller_is_left_alone(cluster: Cluster) -> None:
    cluster.submit(manifest("other", managedBy="kueue.x-k8s.io/multikueue"))
    cluster.submit(manifest("ours"))
    cluster.reaches("Running", "ours")
    assert "status" not in (cluster.job("other") or {})


def test_a_queued_job_waits_until_kueue_lets_it_start(cluster: Cluster) -> None:
    cluster.submit(queued())
    eventually(lambda: "queue team" in cluster.status().message, timeout_seconds=60, what="it waits for quota")
    held = cluster.learner_job() or {}
    assert (held["spec"]["suspend"], held["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]) == (True, "team")
    assert not cluster.status().holds(ConditionType.Admitted)
    kueue_lets_it(cluster, run=True)
    cluster.reaches("Running")
    assert (cluster.learner_job() or {})["spec"]["suspend"] is False
    cluster.tells("Queued", "Admitted")


def test_a_job_that_is_taken_out_of_its_queue_starts(cluster: Cluster) -> None:
    cluster.submit(queued())
    eventually(lambda: "queue team" in cluster.status().message, timeout_seconds=60, what="it waits for quota")
    none = {"metadata": {"labels": dict.fromkeys(queued()["metadata"]["labels"])}}
    cluster.admin.merge(TRAINING_JOBS, cluster.namespace, "pong", none)
    cluster.reaches("Running")


def test_every_workload_carries_the_labels_by_which_kueue_finds_its_queue(cluster: Cluster) -> None:
    cluster.submit(queued())
    eventually(cluster.learner_job, timeout_seconds=60, what="the learners' Job")
    kueue_lets_it(cluster, run=True)
    cluster.reaches("Running")
    eventually(lambda: cluster.all(DEPLOYMENTS), timeout_seconds=60, what="the simulators' Deployment")
    for child in (*cluster.all(JOBS), *cluster.all(DEPLOYMENTS)):
        assert queued()["metadata"]["labels"].items() <= child["metadata"]["labels"].items()


def test_a_job_that_kueue_preempts_waits_in_its_queue_again_and_loses_no_restart(cluster: Cluster) -> None:
    cluster.submit(queued())
    eventually(cluster.learner_job, timeout_seconds=60, what="the learners' Job")
    kueue_lets_it(cluster, run=True)
    cluster.reaches("Running")
    eventually(lambda: len(cluster.pods("simulator")) == 2, timeout_seconds=60, what="two simulators")
    kueue_lets_it(cluster, run=False)
    eventually(lambda: "queue team" in cluster.status().message, timeout_seconds=60, what="it waits for quota again")
    eventually(lambda: cluster.all(PODS) == [], timeout_seconds=60, what="its learners and simulators leave")
    cluster.reaches("Pending")
    kueue_lets_it(cluster, run=True)
    cluster.reaches("Running")
    status = cluster.status()
    assert (status.attempt, status.restarts, status.holds(ConditionType.Admitted)) == (1, 0, True)
    eventually(lambda: len(cluster.pods("simulator")) == 2, timeout_seconds=60, what="two simulators again")
