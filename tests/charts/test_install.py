"""The chart's life on a real API server, and the operator with the rights that the chart gives it and no others."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import kubernetes.client
import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, TRAINING_JOBS, Resource
from tests.charts.releases import CRD, MONITORING, install, operator_pods, service_account_token
from tests.charts.test_rendering import EVERYTHING
from tests.support.cluster_fixtures import create_namespace
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.helm import CHART, Helm, HelmFailed
from tests.support.running_operator import CRDS, Cluster, manifest, quick_settings

pytestmark = pytest.mark.control_plane


def names(admin: Client, resource: Resource, namespace: str) -> set[str]:
    return {item["metadata"]["name"] for item in admin.list_page(resource, namespace, {})["items"]}


def phase_of(admin: Client, namespace: str, pod: str) -> str | None:
    found = admin.get(PODS, namespace, pod)
    return found["status"].get("phase") if found else None


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(installer: Helm, admin: Client) -> None:
    assert "kubectl" in install(installer)
    assert names(admin, DISRUPTION_BUDGETS, installer.namespace) == set()
    installer.run("upgrade", "stepstream", str(CHART), "--wait", values={"replicas": 2})
    assert names(admin, DISRUPTION_BUDGETS, installer.namespace) == {"stepstream"}
    installer.run("rollback", "stepstream", "1", "--wait")
    assert names(admin, DISRUPTION_BUDGETS, installer.namespace) == set()
    installer.run("uninstall", "stepstream", "--wait", "--timeout", "60s")
    assert names(admin, DEPLOYMENTS, installer.namespace) == set()
    assert admin.get(CRDS, "", CRD) is not None


def test_two_operators_are_admitted_under_the_restricted_level_and_become_ready(installer: Helm, admin: Client) -> None:
    install(installer, {"replicas": 2})
    pods = operator_pods(admin, installer.namespace)
    assert [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]


@pytest.mark.usefixtures("prometheus_operator")
def test_the_api_server_takes_every_object_of_a_release_with_everything_on(installer: Helm, admin: Client) -> None:
    values = EVERYTHING | {"priorityClassName": "", "images": {}}
    installer.run("install", "stepstream", str(CHART), "--dry-run=server", values=values)
    install(installer, values | {"nodeSelector": {}})
    monitored = {kind.kind: names(admin, kind, installer.namespace) for kind in MONITORING}
    assert monitored == {
        "ServiceMonitor": {"stepstream"},
        "PodMonitor": {"stepstream-jobs"},
        "PrometheusRule": {"stepstream"},
    }


@pytest.mark.parametrize(("phase", "said"), [("Succeeded", "Phase: *Succeeded"), ("Failed", "pod .* failed")])
def test_helm_test_tells_how_the_question_to_the_operator_ended(
    installer: Helm, admin: Client, phase: str, said: str
) -> None:
    install(installer)
    with ThreadPoolExecutor(1) as pool:
        testing = pool.submit(installer.run, "test", "stepstream", "--timeout", "60s")
        pod = "stepstream-is-ready"
        eventually(
            lambda: phase_of(admin, installer.namespace, pod) == "Running", timeout_seconds=60, what="the pod runs"
        )
        admin.merge(PODS, installer.namespace, pod, {"status": {"phase": phase}}, subresource="status")
        try:
            answer = testing.result()
        except HelmFailed as failed:
            answer = str(failed)
    assert re.search(said, answer), answer


def test_a_definition_that_may_go_goes_with_its_release(installer: Helm, admin: Client) -> None:
    install(installer, {"crds": {"keep": False}})
    installer.run("uninstall", "stepstream")
    eventually(lambda: admin.get(CRDS, "", CRD) is None, timeout_seconds=60, what="the definition is gone")


def test_values_that_cannot_work_leave_nothing_behind(installer: Helm, admin: Client) -> None:
    with pytest.raises(HelmFailed, match="replicas"):
        install(installer, {"replicas": "many"})
    assert admin.get(CRDS, "", CRD) is None
    assert names(admin, DEPLOYMENTS, installer.namespace) == set()


def test_a_role_in_a_jobs_namespace_is_all_that_its_life_needs(
    installer: Helm, empty_cluster: ControlPlane, admin: Client
) -> None:
    cluster = Cluster(admin, create_namespace(admin))
    install(installer, {"watchNamespaces": [cluster.namespace]})
    operator = operator_with_rights_of(installer, empty_cluster, admin, cluster)
    try:
        live(cluster)
    finally:
        operator.stop()
        cluster.learners.close()
    assert refusals(operator) == {}


def live(cluster: Cluster) -> None:
    """A job that is made, scaled by the operator itself, suspended, resumed, finished and deleted."""
    cluster.submit(manifest(simulators={"replicas": 2, "minReplicas": 1, "maxReplicas": 3}))
    cluster.reaches("Running")
    waiting = {"learnerFraction": 0.4, "simulatorFraction": 0.0}
    cluster.train_until(lambda: len(cluster.pods("simulator")) == 3, what="three simulators", waiting=waiting)
    cluster.edit("pong", suspend=True)
    cluster.reaches("Suspended")
    cluster.edit("pong", suspend=False)
    cluster.reaches("Running")
    cluster.end_learners(0)
    cluster.reaches("Succeeded")
    cluster.admin.delete(TRAINING_JOBS, cluster.namespace, "pong")
    eventually(lambda: cluster.job() is None, timeout_seconds=60, what="the job is gone")


def operator_with_rights_of(installer: Helm, empty_cluster: ControlPlane, admin: Client, cluster: Cluster) -> Operator:
    """An operator that is known to the API server as the release's service account, and elects itself as one."""
    token = service_account_token(admin, installer.namespace)

    def configuration() -> kubernetes.client.Configuration:
        found = kubernetes.client.Configuration(host=empty_cluster.server)
        found.ssl_ca_cert = str(empty_cluster.directory / "ca.crt")
        found.api_key = {"authorization": f"Bearer {token}"}
        return found

    lease = {"lease_namespace": installer.namespace, "lease_name": "stepstream", "identity": "test"}
    settings = quick_settings(cluster.namespace, scaling_rest_seconds=0.5, **lease)
    operator = Operator(settings, configuration, deposed=lambda reason: None, status_source=cluster.learners.address)
    operator.start()
    return operator


def refusals(operator: Operator) -> dict[str, float]:
    """Requests that the API server forbade, by verb and resource."""
    samples = [sample for metric in operator.metrics.api_requests.collect() for sample in metric.samples]
    forbidden = [sample for sample in samples if sample.labels.get("code") == "403" and sample.value]
    return {f"{sample.labels['verb']} {sample.labels['resource']}": sample.value for sample in forbidden}
