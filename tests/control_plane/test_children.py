"""What the children of a job are like once the API server and the controllers have had them."""

from __future__ import annotations

import statistics
import time

import pytest

from stepstream_operator.api import parse_job
from stepstream_operator.children import cluster_placement, desired_children
from stepstream_operator.children.names import JOB_LABEL
from stepstream_operator.controller.watched import RESOURCE_OF_KIND, WATCHED
from stepstream_operator.runtime.client import FIELD_MANAGER
from stepstream_operator.runtime.resources import CONFIG_MAPS, JOBS, PODS, TRAINING_JOBS, Object, Resource
from tests.support.cluster_fixtures import StartOperator
from tests.support.daemons import eventually
from tests.support.fault_proxy import FaultProxy
from tests.support.running_operator import Cluster, manifest

pytestmark = pytest.mark.control_plane
TRIES = 10
REQUESTS = 25
"""Of one job until its learners may start (benchmarks/results)."""
KEPT = {"volume": {"claimTemplate": {"size": "1Gi"}}}
TLS_SECRET = {"kind": "Secret"}
KILLS = 50
CHILDREN = [watched.resource for watched in WATCHED if watched.resource not in (PODS, TRAINING_JOBS)]


@pytest.fixture
def running(cluster: Cluster, start: StartOperator, proxy: FaultProxy) -> Cluster:
    start(proxy)
    cluster.submit(manifest())
    cluster.reaches("Running")
    eventually(lambda: len(cluster.pods("simulator")) == 2, timeout_seconds=60, what="two simulators")
    return cluster


def test_a_learners_host_name_outlives_its_attempt(running: Cluster) -> None:
    def host() -> tuple[str, str]:
        spec = running.pods("learner")[0]["spec"]
        return spec["hostname"], spec["subdomain"]

    first = host()
    running.end_learners(1)
    eventually(lambda: running.status().attempt == 2, timeout_seconds=60, what="a second attempt")
    running.reaches("Running")
    assert first == host() == ("pong-learner-0", "pong-learner")


def test_learners_pods_are_never_restarted_in_place_nor_evicted_to_save_nodes(running: Cluster) -> None:
    pod, job = running.pods("learner")[0], running.all(JOBS)[0]
    assert (pod["spec"]["restartPolicy"], "podFailurePolicy" in job["spec"]) == ("Never", True)
    assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_every_pod_is_closed_to_the_api_and_to_its_neighbours(running: Cluster) -> None:
    for pod in running.all(PODS):
        assert (pod["spec"]["enableServiceLinks"], pod["spec"]["automountServiceAccountToken"]) == (False, False)
        assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


def test_only_the_jobs_own_pods_are_watched(running: Cluster, proxy: FaultProxy) -> None:
    reads = [request for request in proxy.requests if request.path.endswith("/pods") and request.method == "GET"]
    assert reads
    assert all(request.query["labelSelector"] == "stepstream.dev/job" for request in reads)


def test_the_operator_alone_owns_what_it_wrote_and_never_overwrites_a_whole_object(
    running: Cluster, proxy: FaultProxy
) -> None:
    for kind in CHILDREN:
        for child in running.all(kind, JOB_LABEL):
            entries = child["metadata"]["managedFields"]
            owners = {entry["manager"] for entry in entries if "subresource" not in entry}
            assert (kind.kind, owners) == (kind.kind, {FIELD_MANAGER})
    assert {request.method for request in proxy.requests} <= {"GET", "POST", "PATCH", "DELETE"}


def test_all_children_that_are_due_exist_within_a_second_of_apply(cluster: Cluster, start: StartOperator) -> None:
    """All but the simulators' Deployment, which waits for learners that are ready.

    Where tests share two cores a job's requests alone may take half a second; so each try may take thrice as long as as
    many requests do at that moment. Half of the tries count: an operator that is slow by itself, or every other time,
    fails. benchmarks/bench_operator.py has the times of a machine that does nothing else.
    """
    operator = start()
    eventually(lambda: operator.leading, timeout_seconds=60, what="the operator works")

    def is_quick(name: str) -> bool:
        begun = time.monotonic()
        cluster.submit(manifest(name, checkpoint=KEPT))
        due = kinds_due_first(cluster.job(name) or {})
        what = f"each of {[kind.kind for kind in due]} of {name}"
        eventually(lambda: has_each(cluster, name, due), timeout_seconds=60, what=what)
        return time.monotonic() - begun < max(1.0, 3 * seconds_of_requests(cluster))

    assert sum(is_quick(f"job-{number}") for number in range(TRIES)) > TRIES / 2


def seconds_of_requests(cluster: Cluster) -> float:
    """What REQUESTS writes take now, one after the other."""
    begun = time.monotonic()
    for _ in range(REQUESTS):
        probe: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "probe-"}}
        cluster.admin.create(CONFIG_MAPS, cluster.namespace, probe)
    return time.monotonic() - begun


def kinds_due_first(job: Object) -> list[Resource]:
    """Of the children that are due before learners are ready, the last to be made first."""
    parsed = parse_job(job)
    desired = [TLS_SECRET, *desired_children(parsed, 1, cluster_placement(parsed, tls=True))]
    return [RESOURCE_OF_KIND[child["kind"]] for child in reversed(desired) if child["kind"] != "Deployment"]


def has_each(cluster: Cluster, name: str, kinds: list[Resource]) -> bool:
    return all(cluster.all(kind, f"{JOB_LABEL}={name}") for kind in kinds)


@pytest.mark.timeout(600)
def test_a_simulator_is_replaced_within_five_seconds_the_fiftieth_time_it_is_killed(running: Cluster) -> None:
    times = []
    for _ in range(KILLS):
        victim = running.pods("simulator")[0]["metadata"]
        running.admin.delete(PODS, running.namespace, victim["name"])
        begun = time.monotonic()
        eventually(
            lambda name=victim["name"]: (
                sum(
                    pod["metadata"]["name"] != name and pod["status"]["phase"] == "Running"
                    for pod in running.pods("simulator")
                )
                == 2
            ),
            timeout_seconds=60,
            what="two simulators run again",
        )
        times.append(time.monotonic() - begun)
    assert sorted(times)[KILLS * 9 // 10] < 5.0, times
    assert statistics.median(times[-10:]) < 5.0, times
