"""What keeps a job from running is told in its status, in one sentence."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from stepstream_operator.api.status_types import ConditionType, Phase
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import CONFIG_MAPS, JOBS, PODS, SECRETS, Object, Resource
from tests.support.daemons import eventually
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]
QUOTAS = Resource(group="", version="v1", plural="resourcequotas", kind="ResourceQuota")
CLAIMS = Resource(group="", version="v1", plural="persistentvolumeclaims", kind="PersistentVolumeClaim")
PULL = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nowhere/learner:1"'}
LOOP = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
ENDED = {"exitCode": 3, "reason": "Error", "message": "ImportError: no module named pong"}


def container_waits(cluster: Cluster, role: str, waiting: dict[str, Any], ended: dict[str, Any] | None = None) -> None:
    """What a kubelet reports of the first pod of a role whose container does not run."""
    pod: Object = cluster.pods(role)[0]
    state = {"name": role, "image": "x", "imageID": "x", "ready": False, "restartCount": 4}
    last = {"lastState": {"terminated": ended}} if ended else {}
    conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "False"}]
    status = {"containerStatuses": [state | {"state": {"waiting": waiting}} | last], "conditions": conditions}
    name = pod["metadata"]["name"]
    cluster.admin.merge(PODS, cluster.namespace, name, {"status": status}, subresource="status")


def a_quota_holds(cluster: Cluster) -> bool:
    """Quotas are read from the API server's cache: one just created may let a few objects pass."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim: Object = {"apiVersion": "v1", "kind": CLAIMS.kind, "metadata": {"name": "probe"}, "spec": spec}
    try:
        cluster.admin.create(CLAIMS, cluster.namespace, claim, dry_run=True)
    except ApiError as error:
        return "exceeded quota" in str(error)
    return False


def limit_pods(cluster: Cluster, name: str, room: int) -> None:
    hard = {"pods": str(room), "persistentvolumeclaims": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}
    cluster.admin.create(QUOTAS, cluster.namespace, quota)
    eventually(lambda: a_quota_holds(cluster), timeout_seconds=60, what="the API server knows of the quota")


def test_no_simulator_starts_before_learners_accept_streams(cluster: Cluster) -> None:
    cluster.submit(manifest(learners={"resources": {"requests": {"cpu": "4000"}}}))
    eventually(lambda: "cannot be scheduled" in cluster.status().message, timeout_seconds=60, what="the message")
    assert cluster.status().message.startswith("1 learner cannot be scheduled: 0/4 nodes are available")
    assert (cluster.pods("simulator"), cluster.status().phase) == ([], Phase.Pending)


@pytest.mark.parametrize(("room", "learners"), [(0, 1), (1, 2)])
def test_a_quota_that_keeps_learners_out_is_told_in_one_sentence(cluster: Cluster, room: int, learners: int) -> None:
    limit_pods(cluster, "few", room)
    cluster.submit(manifest(learners={"replicas": learners}))
    eventually(lambda: "exceeded quota" in cluster.status().message, timeout_seconds=60, what="the quota is told")
    assert cluster.status().message.startswith("learners cannot be created: ")


def test_a_drained_learner_is_kept_out_by_the_quota_of_today_and_not_by_that_of_yesterday(cluster: Cluster) -> None:
    limit_pods(cluster, "yesterday", 0)
    cluster.submit(manifest())
    eventually(lambda: "exceeded quota" in cluster.status().message, timeout_seconds=60, what="the quota is told")
    cluster.admin.delete(QUOTAS, cluster.namespace, "yesterday")
    cluster.reaches("Running")
    eventually(lambda: len(cluster.pods("simulator")) == 2, timeout_seconds=60, what="two simulators")
    limit_pods(cluster, "today", 0)
    cluster.end_learners(75)
    eventually(lambda: "exceeded quota" in cluster.status().message, timeout_seconds=60, what="a quota is told")
    assert "exceeded quota: today" in cluster.status().message


def test_a_pod_template_that_the_api_server_refuses_is_told_before_learners_start(cluster: Cluster) -> None:
    overlay = {"spec": {"containers": [{"name": "simulator", "ports": [{"containerPort": 99999}]}]}}
    cluster.submit(manifest(simulators={"replicas": 1, "template": overlay}))
    eventually(lambda: "is refused" in cluster.status().message, timeout_seconds=60, what="the refusal is told")
    assert "Deployment pong-simulator is refused" in cluster.status().message
    assert cluster.all(JOBS) == []


def test_an_object_of_that_name_that_is_not_the_jobs_is_left_alone(cluster: Cluster) -> None:
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pong-config"}, "data": {"mine": "yes"}}
    cluster.admin.create(CONFIG_MAPS, cluster.namespace, foreign)
    cluster.submit(manifest())
    eventually(lambda: "is not this job's" in cluster.status().message, timeout_seconds=60, what="the clash is told")
    held = cluster.admin.get(CONFIG_MAPS, cluster.namespace, "pong-config") or {}
    assert (held["data"], "ownerReferences" in held["metadata"]) == ({"mine": "yes"}, False)


def test_a_secret_of_that_name_that_is_not_the_jobs_is_left_alone(cluster: Cluster) -> None:
    mine = base64.b64encode(b"mine").decode()
    foreign = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pong-tls"}, "data": {"tls.key": mine}}
    cluster.admin.create(SECRETS, cluster.namespace, foreign)
    cluster.submit(manifest())
    eventually(lambda: "is not this job's" in cluster.status().message, timeout_seconds=60, what="the clash is told")
    held = cluster.admin.get(SECRETS, cluster.namespace, "pong-tls") or {}
    assert (held["data"], "ownerReferences" in held["metadata"]) == ({"tls.key": mine}, False)
    assert cluster.all(JOBS) == []


@pytest.mark.parametrize(
    ("waiting", "ended", "said"),
    [
        (PULL, None, '1 simulator cannot pull the image: Back-off pulling image "nowhere/learner:1"'),
        (LOOP, ENDED, "1 simulator in a crash loop: exit code 3: ImportError: no module named pong"),
    ],
    ids=["image pull", "crash loop"],
)
def test_a_simulator_that_does_not_start_is_told_and_degrades_the_job_until_it_does(
    cluster: Cluster, waiting: dict[str, Any], ended: dict[str, Any] | None, said: str
) -> None:
    cluster.submit(manifest())
    cluster.reaches("Running")
    eventually(lambda: cluster.status().simulators.ready == 2, timeout_seconds=60, what="two simulators are ready")
    container_waits(cluster, "simulator", waiting, ended)
    eventually(lambda: cluster.status().message == said, timeout_seconds=60, what=said)
    status = cluster.status()
    assert (status.phase, status.holds(ConditionType.Degraded), status.simulators.summary) == (
        Phase.Running,
        True,
        "1/2",
    )
    cluster.admin.delete(PODS, cluster.namespace, cluster.pods("simulator")[0]["metadata"]["name"])
    eventually(lambda: not cluster.status().holds(ConditionType.Degraded), timeout_seconds=60, what="all is well again")
    cluster.tells("Degraded", "Recovered")
