"""What a user may change of a job that runs, and what not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepstream_operator.children.placement import CONFIG_FILE
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS
from tests.support.daemons import eventually
from tests.support.lives import run, simulators, uids
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]


def trainer_config(cluster: Cluster) -> dict[str, Any]:
    config = cluster.admin.get(CONFIG_MAPS, cluster.namespace, "pong-config") or {}
    return dict(json.loads(config["data"][CONFIG_FILE]))


def generations(cluster: Cluster) -> list[int]:
    return [item["metadata"]["generation"] for kind in (JOBS, DEPLOYMENTS) for item in cluster.all(kind)]


@pytest.mark.parametrize(
    ("edit", "for_the_trainer"),
    [
        pytest.param({"totalSteps": 5_000_000}, True, id="totalSteps"),
        pytest.param({"stopWhen": {"meanReturn": "19", "episodes": 50}}, True, id="stopWhen"),
        pytest.param({"activeDeadlineSeconds": 3600}, False, id="activeDeadlineSeconds"),
        pytest.param({"ttlSecondsAfterFinished": 60}, False, id="ttlSecondsAfterFinished"),
        pytest.param({"backoffLimit": 7}, False, id="backoffLimit"),
    ],
)
def test_what_a_running_job_may_change_leaves_every_pod_alone_and_reaches_the_trainer_where_it_is_its_business(
    cluster: Cluster, edit: dict[str, Any], for_the_trainer: bool
) -> None:
    run(cluster)
    simulators(cluster, 2)
    pods, before, config = uids(cluster.all(PODS)), generations(cluster), trainer_config(cluster)
    cluster.edit("pong", **edit)
    # Written after everything that the edit asks for is done.
    eventually(lambda: cluster.status().observed_generation == 2, timeout_seconds=60, what="the edit was seen")
    assert trainer_config(cluster) == config | (edit if for_the_trainer else {})
    assert (uids(cluster.all(PODS)), generations(cluster)) == (pods, before)


IMMUTABLE: dict[str, Any] = {
    "environment": {"environment": {"id": "ALE/Breakout-v5"}},
    "algorithm": {"algorithm": {"name": "A2C"}},
    "mode": {"mode": "Sync"},
    "seed": {"seed": 7},
    "learners.replicas": {"learners": {"replicas": 2}},
    "learners.environments": {"learners": {"environments": 32}},
    "learners.groups": {"learners": {"groups": 1}},
    "learners.precision": {"learners": {"precision": "Float32"}},
    "learners.maxPolicyLag": {"learners": {"maxPolicyLag": 4}},
    "checkpoint.volume": {"checkpoint": {"volume": {"claimName": "other"}}},
    "managedBy": {"managedBy": "kueue.x-k8s.io/multikueue"},
}


def test_an_immutable_field_is_refused_with_its_name(cluster: Cluster) -> None:
    cluster.submit(manifest())
    for field, edit in IMMUTABLE.items():
        with pytest.raises(ApiError, match=rf"spec\.{field}: .*immutable"):
            cluster.edit("pong", **edit)
