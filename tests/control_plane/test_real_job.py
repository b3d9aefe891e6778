"""Real learners and simulators under a real operator: they run on what it made, and it hears how far they are.

kwok's pods run nothing, so this test starts their processes: with the ConfigMap and the certificates that lie on the
API server, over TCP and mutual TLS.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stepstream_operator.children.placement import CONFIG_FILE
from stepstream_operator.runtime.resources import CONFIG_MAPS, SECRETS
from stepstream_trainer.config import TrainerConfig, parse
from stepstream_trainer.config.contract import EXIT_DONE
from tests.support.certificates import mount
from tests.support.cluster_fixtures import StartOperator
from tests.support.daemons import eventually
from tests.support.job_processes import JobProcesses
from tests.support.running_operator import Cluster, FakeLearners, manifest

pytestmark = pytest.mark.control_plane
STEPS = 4096
JOB = manifest(
    environment={"id": "CartPole-v1", "deterministic": True},
    algorithm={"name": "PPO", "parameters": {"horizon": 32, "minibatchSize": 256, "epochs": 1}},
    mode="Sync",
    totalSteps=STEPS,
    learners={"environments": 8},
    simulators={"replicas": 1},
)
del JOB["spec"]["stopWhen"]


class LearnerProcess(FakeLearners):
    """The real process, whichever pod is asked for."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def address(self, pod: Mapping[str, Any]) -> str:
        return self._address


@pytest.fixture
def processes(cluster: Cluster, start: StartOperator, tmp_path: Path) -> Iterator[JobProcesses]:
    """The job's processes, of a learner that is bound to a node. Sockets lie where paths are short."""
    with tempfile.TemporaryDirectory(prefix="st-") as sockets:
        cluster.learners = LearnerProcess(f"unix:{sockets}/http")
        start()
        cluster.submit(JOB)
        cluster.reaches("Running")
        config = cluster.admin.get(CONFIG_MAPS, cluster.namespace, "pong-config") or {}
        secret = cluster.admin.get(SECRETS, cluster.namespace, "pong-tls") or {}
        parsed = parse(TrainerConfig, json.loads(config["data"][CONFIG_FILE]), path="")
        job = JobProcesses(parsed, tmp_path / "run", Path(sockets), mount(secret["data"], tmp_path / "tls"))
        yield job
        job.close()


def test_a_job_is_trained_over_its_own_certificates_and_its_status_follows(
    cluster: Cluster, processes: JobProcesses
) -> None:
    learner = processes.start_learner()
    processes.start_simulators("pong-simulator-0")
    eventually(lambda: cluster.status().progress, timeout_seconds=120, what="the operator hears of progress")
    assert learner.wait(120) == EXIT_DONE, processes.log()
    cluster.end_learners(EXIT_DONE, json.dumps(processes.final_status()))
    cluster.reaches("Succeeded")
    progress = cluster.status().progress
    assert progress is not None
    assert (progress.steps, progress.percent) == (STEPS, "100%")
    assert progress.episode_return is not None
