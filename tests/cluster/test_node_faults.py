"""Faults of the node, its network and its volumes during training, and what each of them costs.

They are made on a node of our own; on another cluster these tests are left out, and say so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from stepstream_trainer.config import contract
from tests.support.daemons import eventually, lasts
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.one_node import faults, places
from tests.support.pong_job import CHECKPOINT_SECONDS, SIMULATORS, pong
from tests.support.real_cluster import RealCluster
from tests.support.real_job import LastWords, RealJob, events, resumed

API_AWAY_SECONDS = 60
CUT_SECONDS = 30
DELAY_SECONDS = 0.05
"""Each way."""
SMALL_MEGABYTES = 128
CHECKPOINT_FAILURES = "stepstream_learner_checkpoint_failures_total"
CHECKPOINT_WRITTEN = "stepstream_learner_checkpoint_last_success_timestamp_seconds"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _own_node(cluster: RealCluster) -> None:
    if not cluster.is_ours:
        pytest.skip("faults of a node are made on one of our own")


class Undisturbed:
    """That a learner's process is the same, and that nobody counted a failure."""

    def __init__(self, job: RealJob, learner: str) -> None:
        self._job, self._learner, self._uid = job, learner, job.uid(learner)
        self.steps = job.steps(learner)
        self.began = time.monotonic()

    def rate(self) -> float:
        """Steps a second since then."""
        return (self._job.steps(self._learner) - self.steps) / (time.monotonic() - self.began)

    def check(self) -> None:
        status = self._job.get()["status"]
        assert self._job.uid(self._learner) == self._uid
        assert (status["restarts"], status["attempt"]) == (0, 1)


def measured(job: RealJob, learner: str, seconds: float) -> float:
    """Steps a second, for so long."""
    watch = Undisturbed(job, learner)
    lasts(seconds)
    return watch.rate()


def seconds_until_steps_are_made(job: RealJob, learner: str) -> float:
    began, steps = time.monotonic(), job.steps(learner)
    eventually(lambda: job.steps(learner) > steps, timeout_seconds=240, what="steps are made", interval_seconds=0.2)
    return time.monotonic() - began


def test_training_does_not_notice_that_the_api_server_is_gone(
    job: RealJob, learner: str, tell_at_the_end: TellAtTheEnd
) -> None:
    usual = measured(job, learner, 10)
    watch = Undisturbed(job, learner)
    with faults.api_server_gone():
        lasts(API_AWAY_SECONDS)
    made = watch.rate()
    tell_at_the_end(f"the API server gone for {API_AWAY_SECONDS} s: {made:,.0f} steps/s meanwhile, {usual:,.0f} before")
    watch.check()
    assert made > usual / 2
    reported = job.steps(learner)
    eventually(
        lambda: job.get()["status"]["progress"]["steps"] >= reported, timeout_seconds=90, what="the status follows"
    )


def test_a_network_that_is_cut_stops_training_until_it_heals(
    job: RealJob, learner: str, tell_at_the_end: TellAtTheEnd
) -> None:
    watch = Undisturbed(job, learner)
    with faults.network_cut(job.address(learner)):
        lasts(CUT_SECONDS)
    back = seconds_until_steps_are_made(job, learner)
    tell_at_the_end(f"the network cut for {CUT_SECONDS} s: steps again after {back:.1f} s")
    watch.check()
    assert back < 30


def test_a_slow_network_costs_its_delay_and_nothing_else(
    job: RealJob, learner: str, tell_at_the_end: TellAtTheEnd
) -> None:
    usual = measured(job, learner, 10)
    with faults.network_slow(job.address(learner), contract.STREAM_PORT, DELAY_SECONDS):
        new_simulators(job)
        slow = measured(job, learner, 20)
    new_simulators(job)
    tell_at_the_end(
        f"{1000 * DELAY_SECONDS:.0f} ms each way between simulators and learner: {slow:,.0f} steps/s,"
        f" {usual:,.0f} without"
    )
    # A group's 8 rows a round trip at least, two groups by turns; and with it no more than half of the bound.
    bound = 16 / (2 * DELAY_SECONDS)
    assert bound / 2 < slow < 1.1 * bound


def new_simulators(job: RealJob) -> None:
    """With connections that begin now."""
    old = {pod["metadata"]["name"] for pod in job.pods("simulator")}
    job.kubectl("delete", "pod", *old, "--wait=true", "--timeout=60s")
    eventually(lambda: len({*job.ready_pods("simulator")} - old) == SIMULATORS, timeout_seconds=60, what="others serve")


def test_a_simulator_that_freezes_is_replaced(job: RealJob, learner: str, tell_at_the_end: TellAtTheEnd) -> None:
    watch = Undisturbed(job, learner)
    simulator = job.ready_pods("simulator")[0]
    with faults.frozen(job.container(simulator)):
        began = time.monotonic()
        steps = job.steps(learner)
        eventually(lambda: job.steps(learner) > steps + 1000, timeout_seconds=300, what="steps are made again")
        stood = time.monotonic() - began
    tell_at_the_end(f"a simulator stopped by SIGSTOP: 1,000 steps later after {stood:.0f} s")
    watch.check()
    assert stood < 130, "the time that rows may take"


def test_a_drained_node_lets_the_learner_write_its_checkpoint(
    job: RealJob, learner: str, cluster: RealCluster, tell_at_the_end: TellAtTheEnd
) -> None:
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace=job.kubectl.namespace)
    first, words = job.uid(learner), LastWords(job, learner)
    mine = f"--pod-selector=stepstream.dev/job={job.name}"
    try:
        said = admin("drain", places.NODE, "--ignore-daemonsets", "--delete-emptydir-data", mine, "--timeout=100s")
        assert f"node/{places.NODE} drained" in said
        left = events(words(), "checkpoint_written")[-1]["step"]
        assert job.get()["status"]["restarts"] == 0
    finally:
        admin("uncordon", places.NODE)
    began = time.monotonic()
    goes_on = resumed(job, than=first)
    tell_at_the_end(
        f"a node drained: left at step {left}, went on at {goes_on['steps']}, {time.monotonic() - began:.1f} s after"
        " it was there again"
    )
    assert goes_on["steps"] == left


@pytest.fixture
def small_claim(cluster: RealCluster, user: Kubectl) -> Iterator[str]:
    """A claim of a volume with little room. Gives the volume's folder on the node."""
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace=user.namespace)
    with faults.small_volume("small", SMALL_MEGABYTES) as path:
        admin("apply", "-f", "-", given=volume_and_claim(path, user.namespace))
        yield path
        admin("delete", "pvc/small", "pv/small", "--timeout=60s")


def volume_and_claim(path: str, namespace: str) -> dict[str, Any]:
    size, modes = {"storage": f"{SMALL_MEGABYTES}Mi"}, ["ReadWriteOnce"]
    claimed = {"namespace": namespace, "name": "small"}
    volume = {"capacity": size, "accessModes": modes, "hostPath": {"path": path}, "claimRef": claimed}
    claim = {"resources": {"requests": size}, "accessModes": modes, "storageClassName": "", "volumeName": "small"}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "small"}, "spec": volume},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "small"}, "spec": claim},
        ],
    }


def test_a_full_volume_costs_checkpoints_and_not_the_training(
    user: Kubectl, small_claim: str, tell_at_the_end: TellAtTheEnd
) -> None:
    job, manifest = RealJob(kubectl=user, name="full"), pong("full")
    manifest["spec"]["checkpoint"]["volume"] = {"claimName": "small"}
    job.apply(manifest)
    try:
        learner = job.learner()

        def figure(name: str) -> float:
            return job.metrics(learner).get(name, 0.0)

        eventually(lambda: figure(CHECKPOINT_WRITTEN) > 0, timeout_seconds=120, what="a checkpoint is written")
        watch = Undisturbed(job, learner)
        with faults.full(small_claim):
            written = figure(CHECKPOINT_WRITTEN)
            eventually(
                lambda: figure(CHECKPOINT_FAILURES) > 1,
                timeout_seconds=4 * CHECKPOINT_SECONDS,
                what="the metric tells of checkpoints that fail",
            )
            assert figure(CHECKPOINT_WRITTEN) == written
            failed = figure(CHECKPOINT_FAILURES)
        eventually(
            lambda: figure(CHECKPOINT_WRITTEN) > written, timeout_seconds=60, what="there is room, and a checkpoint"
        )
        assert watch.rate() > 0
        watch.check()
        tell_at_the_end(f"a volume full for {failed:.0f} checkpoints: {watch.rate():,.0f} steps/s all the while")
        assert "checkpoint_failed" in {line["event"] for line in job.log(learner)}
    finally:
        user("delete", "tjob", "full", "--timeout=110s")
