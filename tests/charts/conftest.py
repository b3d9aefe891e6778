"""Helm for rendering, and a cluster of its own for installing: the chart brings the TrainingJob definition itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stepstream_operator.runtime.client import Client, load_configuration
from tests.charts.releases import CRD, MONITORING
from tests.support.cluster_fixtures import create_namespace, install_definition, running_control_plane
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.helm import Helm
from tests.support.running_operator import CRDS
from tests.support.tools import prometheus_operator_definition


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    return Helm(home=tmp_path)


@pytest.fixture(scope="package")
def empty_cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane on which nothing of ours is installed."""
    with running_control_plane(request.config) as cluster:
        yield cluster


@pytest.fixture
def admin(empty_cluster: ControlPlane) -> Client:
    return Client(load_configuration(str(empty_cluster.kubeconfig)))


@pytest.fixture(scope="package")
def prometheus_operator(empty_cluster: ControlPlane) -> None:
    """The kinds of the Prometheus operator that the chart makes objects of."""
    admin = Client(load_configuration(str(empty_cluster.kubeconfig)))
    for kind in MONITORING:
        install_definition(admin, yaml.safe_load(prometheus_operator_definition(kind.plural).read_text()))


@pytest.fixture
def installer(empty_cluster: ControlPlane, admin: Client, tmp_path: Path) -> Iterator[Helm]:
    """Helm in a namespace of the restricted Pod Security level. Afterwards no release and no definition is left."""
    helm = Helm(home=tmp_path, kubeconfig=empty_cluster.kubeconfig, namespace=create_namespace(admin))
    yield helm
    helm.run("uninstall", "stepstream", "--ignore-not-found")
    admin.delete(CRDS, "", CRD)
    # The API server looks for a minute whether jobs are left before it tries anew.
    eventually(lambda: admin.get(CRDS, "", CRD) is None, timeout_seconds=150, what="the definition is gone")
