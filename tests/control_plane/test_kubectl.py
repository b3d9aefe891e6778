"""What a user does with kubectl beside apply: look, explain, scale, wait; and an autoscaler of theirs."""

from __future__ import annotations

import pytest

from stepstream_operator.children.names import JOB_LABEL, ROLE_LABEL
from stepstream_operator.runtime.resources import PODS, Resource
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.kubectl import Kubectl
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]
AUTOSCALERS = Resource(
    group="autoscaling", version="v2", plural="horizontalpodautoscalers", kind="HorizontalPodAutoscaler"
)


@pytest.fixture
def kubectl(control_plane: ControlPlane, cluster: Cluster) -> Kubectl:
    return Kubectl(kubeconfig=control_plane.kubeconfig, namespace=cluster.namespace)


def runs_with(cluster: Cluster, simulators: int) -> None:
    what = f"{simulators} simulators"
    eventually(lambda: len(cluster.pods("simulator")) == simulators, timeout_seconds=60, what=what)


def test_columns_say_how_a_job_stands(kubectl: Kubectl, cluster: Cluster) -> None:
    cluster.submit(manifest())
    cluster.reaches("Running")
    cluster.answer()
    expected = {
        "NAME": "pong",
        "STATUS": "Running",
        "MODE": "Sync",
        "LEARNERS": "1/1",
        "SIMULATORS": "2/2",
        "STEPS": "12.4M",
        "STEPS/S": "41200",
        "RETURN": "18.3",
        "PROGRESS": "24%",
        "RESTARTS": "0",
    }
    kubectl.comes_to_show("tjob", "pong", cells=expected)
    wide = kubectl.columns("trainingjobs", "pong", "-o", "wide")
    assert wide["MESSAGE"] == "training"
    assert wide["ETA"]
    assert wide["CHECKPOINT"]
    assert "trainingjob.stepstream.dev/pong" in kubectl("get", "stepstream,all", "-o", "name")


def test_a_job_that_has_ended_is_waited_for_by_its_condition(kubectl: Kubectl, cluster: Cluster) -> None:
    cluster.submit(manifest())
    cluster.reaches("Running")
    cluster.end_learners(0)
    waited = kubectl("wait", "--for=condition=Complete", "tjob/pong", "--timeout=60s")
    assert waited == "trainingjob.stepstream.dev/pong condition met"


def test_kubectl_scale_changes_the_number_of_simulators(kubectl: Kubectl, cluster: Cluster) -> None:
    cluster.submit(manifest())
    cluster.reaches("Running")
    assert kubectl("scale", "tjob/pong", "--replicas=4") == "trainingjob.stepstream.dev/pong scaled"
    runs_with(cluster, 4)
    refused = kubectl("scale", "tjob/pong", "--replicas=5000")
    assert "spec.simulators.replicas" in refused
    assert "4096" in refused


def test_a_horizontal_pod_autoscaler_finds_the_simulators_and_scales_them(cluster: Cluster) -> None:
    cluster.submit(manifest())
    cluster.reaches("Running")
    scale = cluster.admin._call("get", PODS, "GET", f"{job_path(cluster)}/scale")
    assert scale["status"]["selector"] == f"{JOB_LABEL}=pong,{ROLE_LABEL}=simulator"
    target = {"apiVersion": "stepstream.dev/v1alpha1", "kind": "TrainingJob", "name": "pong"}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    spec = {"scaleTargetRef": target, "minReplicas": 4, "maxReplicas": 6, "metrics": [cpu]}
    body = {"apiVersion": AUTOSCALERS.api_version, "kind": AUTOSCALERS.kind, "metadata": {"name": "pong"}}
    cluster.admin.create(AUTOSCALERS, cluster.namespace, body | {"spec": spec})
    runs_with(cluster, 4)
    assert cluster.status().attempt == 1


def job_path(cluster: Cluster) -> str:
    return f"/apis/stepstream.dev/v1alpha1/namespaces/{cluster.namespace}/trainingjobs/pong"


def test_kubectl_explains_each_field_in_a_sentence(kubectl: Kubectl) -> None:
    said = kubectl("explain", "tjob.spec.simulators")
    assert "processes that step environments" in said
    for field in ("replicas", "minReplicas", "maxReplicas", "resources", "template"):
        assert f"  {field}\t<" in said
