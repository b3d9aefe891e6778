"""What somebody does to a job's children is undone, and costs no pod that runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stepstream_operator.children.names import JOB_LABEL, MANAGED_BY_LABEL
from stepstream_operator.controller.certificates import certificate_data, must_renew
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICES,
    Object,
    Resource,
)
from tests.support.cluster_fixtures import StartOperator
from tests.support.daemons import eventually
from tests.support.lives import run, simulators, uids
from tests.support.running_operator import Cluster

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]
CHILDREN: dict[Resource, str] = {
    CONFIG_MAPS: "pong-config",
    SERVICES: "pong-learner",
    NETWORK_POLICIES: "pong",
    DISRUPTION_BUDGETS: "pong-learner",
    JOBS: "pong-learner",
    DEPLOYMENTS: "pong-simulator",
    SECRETS: "pong-tls",
}
DRIFT: dict[Resource, Object] = {
    CONFIG_MAPS: {"data": {"job.json": "{}"}},
    SERVICES: {"spec": {"selector": {"team": "other"}}},
    NETWORK_POLICIES: {"spec": {"ingress": None}},
    DISRUPTION_BUDGETS: {"spec": {"minAvailable": 1}},
    JOBS: {"spec": {"backoffLimit": 6}, "metadata": {"labels": {MANAGED_BY_LABEL: "other"}}},
    DEPLOYMENTS: {"spec": {"replicas": 0}},
}


def child(cluster: Cluster, kind: Resource) -> Object:
    return cluster.admin.get(kind, cluster.namespace, CHILDREN[kind]) or {"metadata": {}}


def change(cluster: Cluster, kind: Resource, body: Object) -> Object:
    return cluster.admin.merge(kind, cluster.namespace, CHILDREN[kind], body)


def content(found: Object) -> list[Any]:
    return [found["metadata"].get("labels"), found.get("spec"), found.get("data")]


def certificates(cluster: Cluster) -> dict[str, str]:
    return dict(child(cluster, SECRETS).get("data") or {})


def fit(files: dict[str, str]) -> bool:
    return not must_renew(files, datetime.now(UTC))


def test_drift_in_any_child_is_repaired(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    learners = uids(cluster.pods("learner"))
    before = {kind: content(child(cluster, kind)) for kind in DRIFT}
    for kind, body in DRIFT.items():
        assert content(change(cluster, kind, body)) != before[kind]
    for kind in DRIFT:
        what = f"the {kind.kind} is as before"
        eventually(lambda kind=kind: content(child(cluster, kind)) == before[kind], timeout_seconds=60, what=what)
    simulators(cluster, 2)
    assert uids(cluster.pods("learner")) == learners


def test_a_child_that_somebody_deletes_comes_back(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    learners = uids(cluster.pods("learner"))
    deleted = (CONFIG_MAPS, SERVICES, NETWORK_POLICIES, DISRUPTION_BUDGETS, DEPLOYMENTS, SECRETS)
    before = {kind: child(cluster, kind)["metadata"]["uid"] for kind in deleted}
    for kind in deleted:
        cluster.admin.delete(kind, cluster.namespace, CHILDREN[kind])
    for kind in deleted:
        what = f"another {kind.kind}"
        eventually(
            lambda kind=kind: child(cluster, kind)["metadata"].get("uid") not in (None, before[kind]),
            timeout_seconds=60,
            what=what,
        )
    assert uids(cluster.pods("learner")) == learners


@pytest.mark.parametrize("files", [("ca.crt",), ("simulator.crt", "simulator.key")], ids=" and ".join)
def test_certificates_that_somebody_replaced_by_others_are_made_anew(cluster: Cluster, files: tuple[str, ...]) -> None:
    run(cluster)
    others = certificate_data("another", datetime.now(UTC), {})
    change(cluster, SECRETS, {"data": {name: others[name] for name in files}})
    eventually(
        lambda: not others.items() & certificates(cluster).items() and fit(certificates(cluster)),
        timeout_seconds=60,
        what="certificates that fit each other",
    )


def test_children_that_lose_the_label_they_are_followed_by_get_it_back(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    learners, authority = uids(cluster.pods("learner")), certificates(cluster)["ca.crt"]
    before = {kind: child(cluster, kind)["metadata"]["uid"] for kind in CHILDREN}
    for kind in CHILDREN:
        change(cluster, kind, {"metadata": {"labels": {JOB_LABEL: None}}})
    for kind in CHILDREN:
        what = f"the {kind.kind} has its label again"
        eventually(
            lambda kind=kind: child(cluster, kind)["metadata"]["labels"].get(JOB_LABEL) == "pong",
            timeout_seconds=60,
            what=what,
        )
    cluster.edit("pong", simulators={"replicas": 3})
    simulators(cluster, 3)
    assert {kind: child(cluster, kind)["metadata"]["uid"] for kind in CHILDREN} == before
    assert (uids(cluster.pods("learner")), certificates(cluster)["ca.crt"]) == (learners, authority)


def test_learners_that_end_while_their_job_is_not_followed_end_the_job(
    cluster: Cluster, operator: Operator, start: StartOperator
) -> None:
    run(cluster)
    operator.stop()
    change(cluster, JOBS, {"metadata": {"labels": {JOB_LABEL: None}}})
    cluster.end_learners(0)
    start()
    cluster.reaches("Succeeded")


def test_pods_that_go_while_no_operator_is_there_are_replaced(cluster: Cluster, operator: Operator) -> None:
    run(cluster)
    simulators(cluster, 2)
    operator.stop()
    before = uids(cluster.all(PODS))
    cluster.end_pod(cluster.pods("learner")[0], 137, disrupted=True)
    for pod in cluster.pods("simulator"):
        cluster.admin.delete(PODS, cluster.namespace, pod["metadata"]["name"])

    def running(role: str) -> int:
        pods = [pod for pod in cluster.pods(role) if pod["metadata"]["uid"] not in before]
        return sum(pod["status"]["phase"] == "Running" for pod in pods)

    eventually(lambda: (running("learner"), running("simulator")) == (1, 2), timeout_seconds=60, what="others run")
