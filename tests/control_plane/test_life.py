"""A job's life on a real control plane: what users see at every stage."""

from __future__ import annotations

import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS
from tests.support.daemons import eventually
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]


def test_a_job_starts_learners_first_then_simulators_and_succeeds(cluster: Cluster) -> None:
    cluster.submit(manifest())
    cluster.reaches("Running")
    eventually(lambda: len(cluster.pods("simulator")) == 2, timeout_seconds=10, what="two simulators")
    learner, simulator = cluster.pods("learner")[0], cluster.pods("simulator")[0]
    assert learner["metadata"]["creationTimestamp"] <= simulator["metadata"]["creationTimestamp"]
    cluster.end_learners(0)
    cluster.reaches("Succeeded")
    eventually(lambda: cluster.all(DEPLOYMENTS) == [], timeout_seconds=10, what="simulators are removed")
    assert cluster.all(JOBS) != []
