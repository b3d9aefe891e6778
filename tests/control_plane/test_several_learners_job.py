"""A job with two learners on a real control plane: who is replaced alone, who with the others, and what is told."""

from __future__ import annotations

import pytest

from stepstream_operator.children.names import COMPLETION_INDEX
from stepstream_operator.runtime.resources import SERVICES, Object
from stepstream_trainer.config import contract
from tests.support.daemons import eventually
from tests.support.lives import run, uids
from tests.support.running_operator import Cluster

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]


def index_of(pod: Object) -> str:
    return str(pod["metadata"]["annotations"][COMPLETION_INDEX])


def learner_of(cluster: Cluster, rank: int) -> Object:
    return next(pod for pod in cluster.pods("learner") if index_of(pod) == str(rank))


def replaced(cluster: Cluster, before: set[str], count: int) -> None:
    eventually(
        lambda: len(uids(cluster.pods("learner")) - before) == count,
        timeout_seconds=60,
        what=f"{count} new learner pods",
    )


@pytest.mark.parametrize("mode", ["Sync", "Async"])
def test_both_learners_run_and_find_rank_0_by_a_name_that_its_service_knows(cluster: Cluster, mode: str) -> None:
    run(cluster, learners={"replicas": 2}, mode=mode)
    pods = cluster.pods("learner")
    assert sorted(index_of(pod) for pod in pods) == ["0", "1"]
    rank_0 = learner_of(cluster, 0)["spec"]
    assert (rank_0["hostname"], rank_0["subdomain"]) == ("pong-learner-0", "pong-learner")
    for pod in pods:
        variables = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
        host, port = (variables[contract.RENDEZVOUS] or "").split(":")
        assert host == f"{rank_0['hostname']}.{rank_0['subdomain']}.{cluster.namespace}.svc"
        assert variables[contract.WORLD_SIZE] == "2"
    [service] = [each for each in cluster.all(SERVICES) if each["metadata"]["name"] == rank_0["subdomain"]]
    assert service["spec"]["publishNotReadyAddresses"]
    assert int(port) in [each["port"] for each in service["spec"]["ports"]]


def test_in_mode_async_a_failed_learner_is_replaced_alone_and_does_not_count(cluster: Cluster) -> None:
    run(cluster, learners={"replicas": 2}, mode="Async", backoffLimit=0)
    before = uids(cluster.pods("learner"))
    staying = learner_of(cluster, 0)["metadata"]["uid"]
    cluster.end_pod(learner_of(cluster, 1), 137, "killed")
    replaced(cluster, before, 1)
    assert learner_of(cluster, 0)["metadata"]["uid"] == staying
    cluster.reaches("Running")
    assert (cluster.status().attempt, cluster.status().restarts) == (1, 0)


def test_in_mode_sync_a_failed_learner_ends_the_attempt_of_both(cluster: Cluster) -> None:
    run(cluster, learners={"replicas": 2}, mode="Sync")
    before = uids(cluster.pods("learner"))
    cluster.end_pod(learner_of(cluster, 1), 1, "ValueError: boom")
    replaced(cluster, before, 2)
    cluster.reaches("Running")
    assert (cluster.status().attempt, cluster.status().restarts) == (2, 1)


@pytest.mark.parametrize("mode", ["Sync", "Async"])
def test_a_drained_learner_is_replaced_within_the_attempt(cluster: Cluster, mode: str) -> None:
    run(cluster, learners={"replicas": 2}, mode=mode, backoffLimit=0)
    before = uids(cluster.pods("learner"))
    cluster.end_pod(learner_of(cluster, 1), 75)
    replaced(cluster, before, 1)
    cluster.reaches("Running")
    assert (cluster.status().attempt, cluster.status().restarts) == (1, 0)


def test_input_that_cannot_work_ends_a_job_in_mode_async_at_once(cluster: Cluster) -> None:
    run(cluster, learners={"replicas": 2}, mode="Async")
    cluster.end_pod(learner_of(cluster, 1), 78, "environment.id: no such environment")
    cluster.reaches("Failed")
    assert cluster.status().restarts == 0


@pytest.mark.parametrize("mode", ["Sync", "Async"])
def test_the_job_succeeds_when_both_learners_have(cluster: Cluster, mode: str) -> None:
    run(cluster, learners={"replicas": 2}, mode=mode)
    cluster.end_learners(0)
    cluster.reaches("Succeeded")
