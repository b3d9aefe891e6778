"""Helm for rendering, and a cluster of its own for installing: the chart brings the TrainingJob definition itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepstream_operator.runtime.client import Client, load_configuration
from tests.support.cluster_fixtures import NODES, add_nodes, wait_for_service_account
from tests.support.control_plane import ControlPlane
from tests.support.helm import Helm


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(home=tmp_path)


@pytest.fixture(scope="module")
def empty_cluster() -> Iterator[ControlPlane]:
    """A control plane on which nothing of ours is installed."""
    cluster = ControlPlane()
    try:
        cluster.start()
        client = Client(load_configuration(str(cluster.kubeconfig)))
        wait_for_service_account(client, "default")
        add_nodes(client, NODES)
        yield cluster
    finally:
        cluster.stop()
