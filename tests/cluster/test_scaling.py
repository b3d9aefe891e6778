"""A job is scaled while it trains: its speed follows, its learner stays, and an autoscaler comes to rest.

Simulators get a tenth of a core each: a job of one of them waits for it and not for its learner, on two cores, too.
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
from tests.support.real_job import RealJob

A_TENTH = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "100m"}}
SLOTS = 16
MEASURED_SECONDS = 20
SETTLES_SECONDS = 420
STAYS_SECONDS = 150
"""More than twice what the autoscaler rests between two decisions."""

pytestmark = pytest.mark.timeout(900)


@contextmanager
def trained(user: Kubectl, name: str, **simulators: Any) -> Iterator[RealJob]:
    manifest = cartpole(
        name,
        algorithm={"name": "A2C"},
        learners={"environments": SLOTS, "resources": RESOURCES},
        simulators={"replicas": 1, "resources": A_TENTH, **simulators},
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
    user: Kubectl, tell_at_the_end: TellAtTheEnd
) -> None:
    with trained(user, "scaled") as job:
        learner = job.learner()
        uid, rates = job.uid(learner), []
        for simulators in (1, 8, 2):
            scale(job, simulators)
            rates.append(steps_per_second(job, learner))
        one, eight, two = rates
        tell_at_the_end(f"1, 8, 2 simulators of a tenth of a core: {one:,.0f}, {eight:,.0f}, {two:,.0f} steps/s")
        assert eight > 2.5 * one
        assert one < two < eight / 1.5
        assert job.uid(learner) == uid
        assert job.get()["status"]["restarts"] == 0
        assert job.metrics(learner)["stepstream_learner_slots_rebuilt_differently_total"] == 0


def test_an_autoscaler_comes_to_rest(user: Kubectl, tell_at_the_end: TellAtTheEnd) -> None:
    with trained(user, "scaling", minReplicas=1, maxReplicas=4) as job:
        learner, began = job.learner(), time.monotonic()
        uid, numbers = job.uid(learner), [1]

        def rests() -> bool:
            wanted = int(job.get()["spec"]["simulators"]["replicas"])
            if wanted != numbers[-1]:
                numbers.append(wanted)
                changed_at[:] = [time.monotonic()]
            return time.monotonic() - changed_at[0] > STAYS_SECONDS

        changed_at = [began]
        eventually(rests, timeout_seconds=SETTLES_SECONDS + STAYS_SECONDS, what=f"it rests for {STAYS_SECONDS} s")
        settled = changed_at[0] - began
        tell_at_the_end(f"autoscaling between 1 and 4: {numbers} simulators, the last of them after {settled:.0f} s")
        assert 1 < numbers[-1] <= 4
        assert numbers == sorted(numbers)
        assert job.uid(learner) == uid
