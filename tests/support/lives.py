"""What tests of a job's life on a control plane do and wait for again and again."""

from __future__ import annotations

import threading

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.resources import Object
from tests.support.daemons import eventually
from tests.support.running_operator import Cluster, manifest

QUIET_SECONDS = 4.0
"""Learners are asked for their /status more than ten times in it."""


def run(cluster: Cluster, **spec: object) -> None:
    cluster.submit(manifest(**spec))
    cluster.reaches("Running")


def simulators(cluster: Cluster, count: int) -> None:
    eventually(lambda: len(cluster.pods("simulator")) == count, timeout_seconds=60, what=f"{count} simulators")


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def settles(cluster: Cluster, operator: Operator) -> None:
    """Waits until both simulators are there and the operator has nothing to do any more."""
    simulators(cluster, 2)
    eventually(lambda: cluster.status().simulators.ready == 2, timeout_seconds=60, what="settled")

    def quiet() -> bool:
        before = requests(operator)
        threading.Event().wait(QUIET_SECONDS)
        return requests(operator) == before

    eventually(quiet, timeout_seconds=60, what=f"{QUIET_SECONDS} s without a request")


def requests(operator: Operator) -> float:
    family = next(iter(operator.metrics.api_requests.collect()))
    return sum(
        sample.value
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["verb"] not in ("watch", "list")
    )
