"""One real cluster for the session; for tests of running jobs a release of the chart, and a user's namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.last_lines import tell
from tests.support.pong_job import SIMULATORS, pong
from tests.support.real_cluster import RealCluster, real_cluster, released, user_of
from tests.support.real_job import RealJob


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


@pytest.fixture(scope="module")
def job(user: Kubectl) -> Iterator[RealJob]:
    """One for all tests of a module: each leaves it training."""
    job = RealJob(kubectl=user, name="pong")
    job.apply(pong())
    yield job
    user("delete", "tjob", "pong", "--timeout=110s")


@pytest.fixture
def learner(job: RealJob) -> str:
    """The learner's pod, with all of its slots served."""
    job.reaches("Running", timeout_seconds=240, LEARNERS="1/1", SIMULATORS=f"{SIMULATORS}/{SIMULATORS}")
    return job.learner()
