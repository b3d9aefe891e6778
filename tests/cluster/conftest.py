"""One real cluster for the session; for tests of running jobs a release of the chart, and a user's namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.last_lines import tell
from tests.support.real_cluster import RealCluster, real_cluster, released, user_of


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    with real_cluster(lambda line: tell(request.config, line)) as found:
        yield found


@pytest.fixture(scope="module")
def release(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    with released(cluster, tmp_path_factory.mktemp("helm")) as helm:
        yield helm


@pytest.fixture(scope="module")
def user(cluster: RealCluster, release: Helm) -> Iterator[Kubectl]:
    with user_of(cluster) as user:
        yield user
