"""The same file in mode Sync gives the same parameters on a cluster as here, though pods are taken away there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.daemons import eventually
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.pong_job import pong
from tests.support.real_cluster import RealCluster
from tests.support.real_job import RealJob, events

STEPS = 30 * 16 * 32

pytestmark = pytest.mark.timeout(600)


def test_pong_ends_with_the_parameters_it_ends_with_here(
    cluster: RealCluster, user: Kubectl, tmp_path: Path, tell_at_the_end: TellAtTheEnd
) -> None:
    if not cluster.is_ours:
        pytest.skip("another cluster may have other processors")
    manifest = pong("same")
    manifest["spec"]["totalSteps"] = STEPS
    manifest["spec"]["environment"]["atari"] = {"stickyActionProbability": "0.25"}
    job = RealJob(kubectl=user, name="same")
    job.apply(manifest)
    job.is_served(manifest)
    learner = job.learner()
    for share in (0.2, 0.5):
        eventually(lambda share=share: job.steps(learner) > share * STEPS, timeout_seconds=120, what="it is on its way")  # type: ignore[misc]
        user("delete", "pod", job.ready_pods("simulator")[0], "--wait=false")
    job.reaches("Succeeded", timeout_seconds=240)
    (there,) = events(job.log(learner), "finished")
    replayed = sum(line["replay"] for line in events(job.log(learner), "leased"))
    file = tmp_path / "same.yaml"
    file.write_text(yaml.safe_dump(manifest))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "stepstream_operator.cli", "run", str(file), "--run-dir", str(run)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=400)
    assert f"parameters={there['parameters']}" in (run / "logs" / "same-learner-0.log").read_text()
    assert replayed > 0, "simulators that took over had nothing to rebuild"
    tell_at_the_end(
        f"Pong, {STEPS:,} steps, two simulators deleted, {replayed:,} steps replayed: the parameters of a run here"
    )
    user("delete", "tjob", "same", "--timeout=110s")
