"""What an earlier Job, or an earlier job of the same name, left: it is waited for, and not taken for this one's."""

from __future__ import annotations

from typing import Any

import pytest

from stepstream_operator.children import Placement, cluster_placement
from stepstream_operator.controller import reconciler
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.resources import JOBS, PODS, TRAINING_JOBS
from tests.support.daemons import eventually
from tests.support.lives import run, uids
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]
WAITS = "waiting for 1 earlier learner to leave"


def test_a_learners_job_that_somebody_deleted_comes_back_in_the_same_attempt(cluster: Cluster) -> None:
    run(cluster)
    first = (cluster.learner_job() or {})["metadata"]["uid"]
    cluster.admin.delete(JOBS, cluster.namespace, "pong-learner")
    eventually(
        lambda: (cluster.learner_job() or {"metadata": {"uid": first}})["metadata"]["uid"] != first,
        timeout_seconds=60,
        what="a new learners' Job",
    )
    cluster.reaches("Running")
    assert (cluster.status().attempt, len(cluster.pods("learner"))) == (1, 1)


def test_no_learners_start_while_those_of_a_deleted_job_still_write_their_checkpoint(cluster: Cluster) -> None:
    run(cluster)
    leaving = cluster.pods("learner")[0]["metadata"]["name"]
    cluster.hold(PODS, leaving)
    cluster.admin.delete(JOBS, cluster.namespace, "pong-learner")
    eventually(lambda: cluster.status().message == WAITS, timeout_seconds=60, what=WAITS)
    assert cluster.learner_job() is None
    cluster.release(PODS, leaving)
    cluster.reaches("Running")
    assert (cluster.status().attempt, len(cluster.pods("learner"))) == (1, 1)


def test_nor_do_they_where_the_job_goes_in_the_midst_of_a_reconcile(
    cluster: Cluster, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cluster)
    leaving = cluster.pods("learner")[0]["metadata"]["name"]
    learners = (cluster.namespace, "pong-learner")
    cluster.hold(PODS, leaving)

    def placement_while_the_job_goes(*arguments: Any, **options: Any) -> Placement:
        monkeypatch.setattr(reconciler, "cluster_placement", cluster_placement)  # it goes once
        cluster.admin.delete(JOBS, *learners)
        gone = "the operator knows that the Job is gone"
        eventually(lambda: operator.stores[JOBS].get(learners) is None, timeout_seconds=60, what=gone)
        return cluster_placement(*arguments, **options)

    monkeypatch.setattr(reconciler, "cluster_placement", placement_while_the_job_goes)
    cluster.edit("pong", simulators={"replicas": 3})
    eventually(lambda: cluster.status().message == WAITS, timeout_seconds=60, what=WAITS)
    assert cluster.learner_job() is None


def test_learners_whose_job_was_deleted_without_them_make_way_for_the_next(cluster: Cluster) -> None:
    run(cluster)
    first = uids(cluster.pods("learner"))
    cluster.admin.delete(JOBS, cluster.namespace, "pong-learner", propagation="Orphan")
    eventually(
        lambda: len(cluster.pods("learner")) == 1 and not first & uids(cluster.pods("learner")),
        timeout_seconds=60,
        what="one new learner, and the old one gone",
    )
    cluster.reaches("Running")


def test_a_job_made_again_under_the_name_of_one_that_failed_begins_anew(cluster: Cluster) -> None:
    run(cluster)
    cluster.end_learners(78, "environment.id: no such environment")
    cluster.reaches("Failed")
    first = (cluster.learner_job() or {})["metadata"]["uid"]
    cluster.hold(JOBS, "pong-learner")
    cluster.admin.delete(TRAINING_JOBS, cluster.namespace, "pong")
    eventually(lambda: cluster.job() is None, timeout_seconds=60, what="the first job is gone")
    cluster.submit(manifest())
    what = "Job pong-learner of an earlier job of this name is not gone yet"
    eventually(lambda: what in cluster.status().message, timeout_seconds=60, what=what)
    assert (cluster.status().attempt, cluster.status().failure) == (1, None)
    assert (cluster.learner_job() or {})["metadata"]["uid"] == first
    cluster.release(JOBS, "pong-learner")
    cluster.reaches("Running")
    assert (cluster.status().attempt, cluster.status().restarts) == (1, 0)
