"""A job is scaled while it trains: its speed follows, its learner stays, and an autoscaler comes to rest.

Environments wait in each step, as if emulation were expensive: simulators are what a node of two cores lacks then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.daemons import eventually, lasts
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.monitored_jobs import RESOURCES, cartpole
from tests.support.own_environment import own_environment
from tests.support.real_job import RealJob

PACED = """
import time
from gymnasium.envs.classic_control import CartPoleEnv

class Paced(CartPoleEnv):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def step(self, action):
        time.sleep(self.seconds)
        return super().step(action)
"""
SLOTS = 16
SLOW_SECONDS, QUICK_SECONDS = 0.005, 0.0005
"""Of a step."""
SLOW_LEARNER = {"name": "PPO", "parameters": {"horizon": 32, "minibatchSize": 128, "epochs": 250}}
MOST = 8
MEASURED_SECONDS = 20
SETTLES_SECONDS = 420
LOOK_SECONDS = 2.0
"""kubectl takes a tenth of a second of the processors that the job is measured on."""
STAYS_SECONDS = 150
"""More than twice what the autoscaler rests between two decisions."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def paced(user: Kubectl) -> Iterator[dict[str, Any]]:
    """The template of simulators that have the environment."""
    with own_environment(user, "paced", PACED) as template:
        yield template


@contextmanager
def trained(
    user: Kubectl, name: str, template: dict[str, Any], seconds: float, algorithm: dict[str, Any], **simulators: Any
) -> Iterator[RealJob]:
    """By one simulator at first."""
    manifest = cartpole(
        name,
        environment={"id": "Paced-v0", "entryPoint": "paced:Paced", "kwargs": {"seconds": seconds}},
        algorithm=algorithm,
        learners={"environments": SLOTS, "resources": RESOURCES},
        simulators={"replicas": 1, "resources": RESOURCES, "template": template, **simulators},
    )
    job = RealJob(kubectl=user, name=name)
    job.apply(manifest)
    try:
        job.is_served(manifest)
        yield job
    finally:
        user("delete", "tjob", name, "--timeout=110s")


def steps_per_second(job: RealJob, learner: str) -> float:
    steps, began = job.steps(learner), time.monotonic()
    lasts(MEASURED_SECONDS)
    return (job.steps(learner) - steps) / (time.monotonic() - began)


def scale(job: RealJob, simulators: int) -> None:
    """Waits until so many simulators serve all slots, each its share."""
    said = job.kubectl("scale", f"tjob/{job.name}", f"--replicas={simulators}")
    assert said == f"trainingjob.stepstream.dev/{job.name} scaled"
    job.reaches("Running", timeout_seconds=120, SIMULATORS=f"{simulators}/{simulators}")
    shares = [SLOTS // simulators] * simulators
    eventually(lambda: slots_served(job) == shares, timeout_seconds=120, what=f"{simulators} serve {shares}")


def slots_served(job: RealJob) -> list[float]:
    return [job.metrics(pod)["stepstream_simulator_slots"] for pod in job.ready_pods("simulator")]


def test_speed_follows_the_number_of_simulators_and_the_learner_stays(
    user: Kubectl, paced: dict[str, Any], tell_at_the_end: TellAtTheEnd
) -> None:
    with trained(user, "scaled", paced, SLOW_SECONDS, {"name": "A2C"}) as job:
        learner = job.learner()
        uid, rates = job.uid(learner), []
        for simulators in (1, 8, 2):
            scale(job, simulators)
            rates.append(steps_per_second(job, learner))
        one, eight, two = rates
        tell_at_the_end(f"1, 8, 2 simulators of slow environments: {one:,.0f}, {eight:,.0f}, {two:,.0f} steps/s")
        assert eight > 4 * one
        # The leases that a simulator has step side by side, so two may be worth more than twice one.
        assert 1.5 * one < two < eight / 1.5
        assert job.uid(learner) == uid
        assert job.get()["status"]["restarts"] == 0
        assert job.metrics(learner)["stepstream_learner_slots_rebuilt_differently_total"] == 0


def test_an_autoscaler_comes_to_rest(user: Kubectl, paced: dict[str, Any], tell_at_the_end: TellAtTheEnd) -> None:
    with trained(user, "scaling", paced, QUICK_SECONDS, SLOW_LEARNER, minReplicas=1, maxReplicas=MOST) as job:
        learner, began = job.learner(), time.monotonic()
        uid, numbers = job.uid(learner), [1]

        changed_at = began

        def rests() -> bool:
            nonlocal changed_at
            wanted = int(job.get()["spec"]["simulators"]["replicas"])
            if wanted != numbers[-1]:
                numbers.append(wanted)
                changed_at = time.monotonic()
            return time.monotonic() - changed_at > STAYS_SECONDS

        try:
            eventually(
                rests,
                timeout_seconds=SETTLES_SECONDS + STAYS_SECONDS,
                what=f"it rests for {STAYS_SECONDS} s",
                interval_seconds=LOOK_SECONDS,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; {numbers}") from error
        settled = changed_at - began
        tell_at_the_end(
            f"autoscaling between 1 and {MOST}: {numbers} simulators, the last of them after {settled:.0f} s"
        )
        assert 1 < numbers[-1] < MOST
        assert job.uid(learner) == uid
