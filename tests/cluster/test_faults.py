"""Faults during training on a cluster whose pods really run, and what each of them costs."""

from __future__ import annotations

import time

import pytest

from tests.support.daemons import eventually, lasts
from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.pong_job import CHECKPOINT_SECONDS, SIMULATORS
from tests.support.real_job import LastWords, NoAnswer, RealJob, resumed

SERVES_AGAIN_SECONDS = 5.0
"""From the container's start."""
OPERATOR_AWAY_SECONDS = 120

pytestmark = pytest.mark.timeout(1200)


def test_a_simulator_that_is_deleted_again_and_again_is_replaced_and_serves_within_seconds(
    job: RealJob, learner: str, request: pytest.FixtureRequest, tell_at_the_end: TellAtTheEnd
) -> None:
    times = 50 if request.config.getoption("--thorough") else 10
    of_learner, steps = job.uid(learner), job.steps(learner)
    taken = [seconds_to_serve_again(job) for _ in range(times)]
    started, serving = zip(*taken, strict=True)
    tell_at_the_end(
        f"a simulator deleted {times} times: the next container started after {max(started):.1f} s at most"
        f" ({sum(started) / times:.1f} s in the mean), and served {max(serving):.1f} s after that at most"
        f" ({sum(serving) / times:.1f} s)"
    )
    assert max(serving) <= SERVES_AGAIN_SECONDS
    assert job.uid(learner) == of_learner
    assert job.steps(learner) > steps
    assert job.get()["status"]["restarts"] == 0


def seconds_to_serve_again(job: RealJob) -> tuple[float, float]:
    """From a pod's deletion to the start of the next one's container, and from there to its first step."""
    known = {pod["metadata"]["name"] for pod in job.pods("simulator")}
    victim = next(
        pod["metadata"]["name"] for pod in job.pods("simulator") if "deletionTimestamp" not in pod["metadata"]
    )
    begun = time.monotonic()
    job.kubectl("delete", "pod", victim, "--wait=false")
    new = ""

    def is_started() -> bool:
        nonlocal new
        found = [pod for pod in job.pods("simulator") if pod["metadata"]["name"] not in known]
        new = found[0]["metadata"]["name"] if found else ""
        return bool(found) and bool(found[0]["status"].get("containerStatuses", [{}])[0].get("started"))

    eventually(is_started, timeout_seconds=60, what="another simulator's container runs")
    started = time.monotonic()
    eventually(lambda: makes_steps(job, new), timeout_seconds=60, what="it serves")
    return started - begun, time.monotonic() - started


def makes_steps(job: RealJob, simulator: str) -> bool:
    try:
        return job.metrics(simulator)["stepstream_simulator_steps_total"] > 0
    except NoAnswer:  # it does not listen yet
        return False


def test_a_learner_that_is_deleted_loses_no_update(job: RealJob, learner: str, tell_at_the_end: TellAtTheEnd) -> None:
    first, words = job.uid(learner), LastWords(job, learner)
    begun, updates = time.monotonic(), job.metrics(learner)["stepstream_learner_updates_total"]
    job.kubectl("delete", "pod", learner, "--wait=false")
    goes_on = resumed(job, than=first)
    away = time.monotonic() - begun
    said = words()
    assert [line["event"] for line in said][-2:] == ["checkpoint_written", "interrupted"]
    left_at = said[-2]["step"]
    tell_at_the_end(
        f"a learner deleted: left at step {left_at}, went on at {goes_on['steps']}; at work again after {away:.1f} s"
    )
    assert goes_on["steps"] == left_at
    assert goes_on["updates"] >= updates
    assert job.get()["status"]["restarts"] == 0


def test_a_learner_that_is_deleted_by_force_loses_no_more_than_an_interval_between_checkpoints(
    job: RealJob, learner: str, tell_at_the_end: TellAtTheEnd
) -> None:
    written = "stepstream_learner_checkpoint_last_success_timestamp_seconds"
    eventually(lambda: job.metrics(learner)[written] > 0, timeout_seconds=60, what="there is a checkpoint")
    first, figures = job.uid(learner), job.metrics(learner)
    begun = time.monotonic()
    job.kubectl("delete", "pod", learner, "--force", "--grace-period=0")
    goes_on = resumed(job, than=first)
    steps, rate = figures["stepstream_learner_job_steps"], figures["stepstream_learner_steps_per_second"]
    lost = max(0.0, steps - goes_on["steps"])
    tell_at_the_end(
        f"a learner deleted by force: seen at step {steps:.0f}, went on at {goes_on['steps']}:"
        f" {lost / rate:.1f} s of work lost (checkpoints every {CHECKPOINT_SECONDS} s);"
        f" at work again after {time.monotonic() - begun:.1f} s"
    )
    assert lost <= rate * (CHECKPOINT_SECONDS + 5)


def test_training_does_not_notice_that_the_operator_is_gone(
    job: RealJob, learner: str, release: Helm, tell_at_the_end: TellAtTheEnd
) -> None:
    operator = Kubectl(kubeconfig=job.kubectl.kubeconfig, namespace=release.namespace)
    of_learner = job.uid(learner)
    operator("scale", "deployment/stepstream", "--replicas=0")
    eventually(lambda: "No resources found" in operator("get", "pods"), timeout_seconds=60, what="the operator is gone")
    before = job.steps(learner)
    simulator = job.ready_pods("simulator")[0]
    job.kubectl("delete", "pod", simulator, "--wait=false")  # a built-in controller replaces it
    lasts(OPERATOR_AWAY_SECONDS)
    made = job.steps(learner) - before
    assert made > 0
    assert len(job.ready_pods("simulator")) == SIMULATORS
    operator("scale", "deployment/stepstream", "--replicas=1")
    operator("rollout", "status", "deployment/stepstream", "--timeout=60s")
    reported = job.steps(learner)
    eventually(
        lambda: job.get()["status"]["progress"]["steps"] >= reported, timeout_seconds=60, what="the status follows"
    )
    tell_at_the_end(f"the operator gone for {OPERATOR_AWAY_SECONDS} s: {made:.0f} steps were made meanwhile")
    assert job.uid(learner) == of_learner
    assert job.get()["status"]["attempt"] == 1
