"""What a user sees who types something wrong: docs/troubleshooting.md holds the very messages."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stepstream_operator.runtime.resources import Object
from tests.support.control_plane import ControlPlane
from tests.support.running_operator import Cluster, manifest
from tests.support.tools import binary

pytestmark = pytest.mark.control_plane
PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


REFUSED: dict[str, Object] = {
    "no simulators": manifest(simulators={"replicas": 0}),
    "a mode in lower case": manifest(mode="sync"),
    "a misspelt field": manifest(totalStep=1000),
    "a misspelt parameter": manifest(algorithm={"name": "PPO", "parameters": {"learning_rate": 0.1}}),
    "bounds the wrong way round": manifest(simulators={"replicas": 4, "minReplicas": 6, "maxReplicas": 3}),
    "a name of 50 characters": manifest("a" * 50),
    "A3C in step": manifest(algorithm={"name": "A3C"}, mode="Sync"),
    "text for a number": manifest(totalSteps="1M"),
    "no environment": manifest() | {"spec": {"algorithm": {"name": "PPO"}}},
}


class Kubectl:
    def __init__(self, control_plane: ControlPlane, cluster: Cluster) -> None:
        self._command = [str(binary("kubectl")), f"--kubeconfig={control_plane.kubeconfig}", "-n", cluster.namespace]

    def __call__(self, *arguments: str, given: Any = None) -> str:
        """Both outputs together, as on a screen."""
        text = json.dumps(given) if given is not None else None
        done = subprocess.run([*self._command, *arguments], input=text, capture_output=True, text=True)
        lines = (done.stdout + done.stderr).replace("STDIN", "job.yaml").splitlines()
        return "\n".join(line.rstrip() for line in lines)


@pytest.fixture
def kubectl(control_plane: ControlPlane, cluster: Cluster) -> Kubectl:
    return Kubectl(control_plane, cluster)


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


def test_a_job_in_a_namespace_that_is_not_watched_stays_without_status(kubectl: Kubectl, cluster: Cluster) -> None:
    kubectl("apply", "-f", "-", given=manifest())
    said = kubectl("get", "tjob", "pong", "-o", "jsonpath={.status}")
    assert said == ""
    assert "STATUS column stays empty" in PAGE.read_text()
