"""The files under examples/, as a cluster takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.control_plane import ControlPlane
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.control_plane
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_api_server_takes_every_example_without_a_warning(control_plane: ControlPlane, namespace: str) -> None:
    kubectl = Kubectl(kubeconfig=control_plane.kubeconfig, namespace=namespace)
    names = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in EXAMPLES.glob("*.yaml")]
    said = kubectl("apply", "--dry-run=server", "-f", str(EXAMPLES))
    taken = {f"trainingjob.stepstream.dev/{name} created (server dry run)" for name in names}
    assert set(said.splitlines()) == taken != set()
