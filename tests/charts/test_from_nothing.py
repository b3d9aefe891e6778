"""From nothing: helm installs the chart, a user applies an example and follows it with kubectl to its end.

kwok runs no containers, so the test starts the operator's, as the Deployment's pod has it: its flags, its variables,
its service account.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepstream_operator.runtime.client import Client
from tests.charts.releases import install, operator_pods, service_account_token
from tests.support.cluster_fixtures import create_namespace
from tests.support.control_plane import ControlPlane
from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.operator_process import OperatorProcess, token_kubeconfig
from tests.support.running_operator import Cluster

pytestmark = pytest.mark.control_plane
EXAMPLE = Path(__file__).parents[2] / "examples" / "pong-ppo.yaml"
OF_NO_JOB = {"working", "leading", "relist", "lease_request_failed", "lease_not_released"}


@pytest.fixture
def kubectl(empty_cluster: ControlPlane, admin: Client) -> Kubectl:
    """A user of a namespace of their own."""
    return Kubectl(kubeconfig=empty_cluster.kubeconfig, namespace=create_namespace(admin))


@pytest.fixture
def nodes(admin: Client, kubectl: Kubectl) -> Iterator[Cluster]:
    """What the nodes of that namespace's pods see and report."""
    cluster = Cluster(admin, kubectl.namespace)
    yield cluster
    cluster.learners.close()


@pytest.fixture
def operator(installer: Helm, empty_cluster: ControlPlane, admin: Client, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The chart, installed, and the process that its pod is."""
    install(installer)
    (pod,) = operator_pods(admin, installer.namespace)
    container = pod["spec"]["containers"][0]
    fields = {"metadata.name": pod["metadata"]["name"], "metadata.namespace": installer.namespace}
    variables = {each["name"]: fields[each["valueFrom"]["fieldRef"]["fieldPath"]] for each in container["env"]}
    token = service_account_token(admin, installer.namespace)
    kubeconfig = token_kubeconfig(empty_cluster, token, tmp_path / "operator.conf")
    process = OperatorProcess(
        container["args"], kubeconfig=kubeconfig, log=tmp_path / "operator.log", variables=variables
    )
    yield process
    process.stop()


def shows(kubectl: Kubectl, **cells: str) -> None:
    kubectl.comes_to_show("tjob", "pong", cells=cells)


def test_an_example_lives_from_helm_install_to_its_end(
    operator: OperatorProcess, kubectl: Kubectl, nodes: Cluster
) -> None:
    assert kubectl("apply", "-f", str(EXAMPLE)) == "trainingjob.stepstream.dev/pong created"
    shows(kubectl, STATUS="Running", MODE="Sync", LEARNERS="1/1", SIMULATORS="2/2", RESTARTS="0")
    placed = {pod["spec"]["nodeName"] for role in ("learner", "simulator") for pod in nodes.pods(role)}
    assert all(name.startswith("fake-") for name in placed)
    assert kubectl("scale", "tjob/pong", "--replicas=4") == "trainingjob.stepstream.dev/pong scaled"
    shows(kubectl, STATUS="Running", LEARNERS="1/1", SIMULATORS="4/4")
    kubectl("patch", "tjob", "pong", "--type=merge", "--patch", '{"spec": {"suspend": true}}')
    shows(kubectl, STATUS="Suspended", LEARNERS="0/0", SIMULATORS="0/0")
    kubectl("patch", "tjob", "pong", "--type=merge", "--patch", '{"spec": {"suspend": false}}')
    shows(kubectl, STATUS="Running", LEARNERS="1/1", SIMULATORS="4/4", RESTARTS="0")
    nodes.end_learners(1, "ValueError: boom")
    shows(kubectl, STATUS="Running", LEARNERS="1/1", SIMULATORS="4/4", RESTARTS="1")
    nodes.end_learners(0)
    shows(kubectl, STATUS="Succeeded", LEARNERS="0/0", SIMULATORS="0/0", RESTARTS="1")
    waited = kubectl("wait", "--for=condition=Complete", "tjob/pong", "--timeout=60s")
    assert waited == "trainingjob.stepstream.dev/pong condition met"
    assert kubectl("delete", "tjob", "pong").startswith('trainingjob.stepstream.dev "pong" deleted')
    has_worked_within_its_rights(operator)


def has_worked_within_its_rights(operator: OperatorProcess) -> None:
    """And every line of its log that is about a job names the job and its attempt."""
    requests = operator.samples("stepstream_operator_api_requests_total")
    assert [labels for labels in requests if 'code="403"' in labels] == []
    assert operator.stop() == 0
    lines = operator.log_lines()
    nameless = [line for line in lines if line["event"] not in OF_NO_JOB and not {"job", "attempt"} <= line.keys()]
    assert (nameless, [line for line in lines if "traceback" in line]) == ([], [])
    assert {"apply", "happened"} <= {line["event"] for line in lines}
