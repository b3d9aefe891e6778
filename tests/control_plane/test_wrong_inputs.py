"""What a user sees who types something wrong: docs/troubleshooting.md holds the very messages."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import TRAINING_JOBS, Object
from tests.support.cluster_fixtures import StartOperator, create_namespace
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.fault_proxy import FaultProxy
from tests.support.kubectl import Kubectl
from tests.support.running_operator import Cluster, manifest

pytestmark = pytest.mark.control_plane
DEFECTS = "stepstream_operator_reconcile_errors_total"
PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"

REFUSED: dict[str, Object] = {
    "no simulators": manifest(simulators={"replicas": 0}),
    "a mode in lower case": manifest(mode="sync"),
    "a misspelt field": manifest(totalStep=1000),
    "a misspelt parameter": manifest(algorithm={"name": "PPO", "parameters": {"learning_rate": 0.1}}),
    "bounds the wrong way round": manifest(simulators={"replicas": 4, "minReplicas": 6, "maxReplicas": 3}),
    "a name of 50 characters": manifest("a" * 50),
    "A3C in step": manifest(algorithm={"name": "A3C"}, mode="Sync"),
    "a batch that learners cannot divide": manifest(learners={"replicas": 3}),
    "text for a number": manifest(totalSteps="1M"),
    "no environment": manifest() | {"spec": {"algorithm": {"name": "PPO"}}},
}


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Kubectl:
    return Kubectl(kubeconfig=control_plane.kubeconfig, namespace=namespace)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_the_page_has_the_message_for(case: str, kubectl: Kubectl) -> None:
    said = kubectl("apply", "-f", "-", given=REFUSED[case])
    assert "error" in said.lower() or "invalid" in said
    assert said in PAGE.read_text(), f"not in {PAGE.name}:\n{said}"


def test_the_page_has_the_message_for_an_immutable_field_changed(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=manifest())
    said = kubectl("apply", "-f", "-", given=manifest(environment={"id": "ALE/Breakout-v5"}))
    assert "immutable" in said
    assert said in PAGE.read_text(), f"not in {PAGE.name}:\n{said}"


def test_a_job_in_a_namespace_that_is_not_watched_stays_without_status(
    kubectl: Kubectl, admin: Client, cluster: Cluster, start: StartOperator
) -> None:
    elsewhere = Cluster(admin, create_namespace(admin))
    start(namespaces=(elsewhere.namespace,))
    kubectl("apply", "-f", "-", given=manifest())
    elsewhere.submit(manifest())
    elsewhere.reaches("Running")
    said = kubectl("get", "tjob", "pong")
    assert kubectl("get", "tjob", "pong", "-o", "jsonpath={.status}") == ""
    assert re.sub(r"\d+s$", "20s", said) in PAGE.read_text(), f"not in {PAGE.name}:\n{said}"


def test_a_job_nested_out_of_all_reason_is_told_so_and_hides_no_other(
    cluster: Cluster, proxy: FaultProxy, operator: Operator
) -> None:
    post_nested(proxy, cluster.namespace, levels=3000)
    cluster.submit(manifest())
    cluster.reaches("Running")
    said = "spec.environment.kwargs.maze"
    eventually(lambda: cluster.status("deep").message.startswith(said), timeout_seconds=60, what="a message")
    defects = operator.metrics.registry.get_sample_value(DEFECTS, {"kind": "defect"})
    assert defects is None


def post_nested(proxy: FaultProxy, namespace: str, levels: int) -> None:
    """Python would not write it: the server takes 10,000 levels."""
    job = manifest("deep", environment={"id": "ALE/Pong-v5", "kwargs": {"maze": "HERE"}})
    body = json.dumps(job).replace('"HERE"', "[" * levels + "]" * levels).encode()
    request = urllib.request.Request(proxy.url + TRAINING_JOBS.path(namespace), data=body, method="POST")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201
