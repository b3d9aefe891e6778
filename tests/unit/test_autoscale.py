"""How many simulators a job should have, from what learners and simulators wait for."""

from dataclasses import dataclass
from unittest.mock import Mock

import pytest

from stepstream_operator.controller.autoscale import Limits, Waiting, decide_simulators
from stepstream_operator.controller.progress import Report
from stepstream_operator.controller.scaling import SimulatorScaler
from tests.support.jobs import make_job

LIMITS = Limits(minimum=2, maximum=20)


@pytest.mark.parametrize(
    ("replicas", "learner", "simulator", "wanted"),
    [
        (8, 0.40, 0.0, 10),
        (2, 0.40, 0.0, 3),
        (19, 0.90, 0.0, 20),
        (20, 0.90, 0.0, None),
        (10, 0.01, 0.9, 9),
        (2, 0.01, 0.9, None),
        (8, 0.05, 0.5, None),
        (8, 0.08, 0.9, None),
        (8, 0.22, 0.79, 10),
        (8, 0.22, 0.81, None),
    ],
    ids=[
        "starved",
        "few",
        "near the maximum",
        "at the maximum",
        "idle",
        "at the minimum",
        "matched",
        "in between",
        "more would help a little",
        "more would stand still",
    ],
)
def test_the_number_follows_the_waiting(replicas: int, learner: float, simulator: float, wanted: int | None) -> None:
    decided = decide_simulators(replicas, replicas, LIMITS, Waiting(learner=learner, simulator=simulator))
    assert (decided.replicas if decided else None) == wanted


def test_the_reason_is_stated() -> None:
    decided = decide_simulators(8, 8, LIMITS, Waiting(learner=0.4, simulator=0.0))
    assert decided is not None
    assert decided.reason == "learners wait 40% of their time for simulators"


@pytest.mark.parametrize(("learner", "simulator", "wanted"), [(0.40, 0.0, None), (0.01, 0.9, 9)])
def test_no_more_are_asked_for_while_some_that_were_asked_for_are_missing(
    learner: float, simulator: float, wanted: int | None
) -> None:
    decided = decide_simulators(10, 7, LIMITS, Waiting(learner=learner, simulator=simulator))
    assert (decided.replicas if decided else None) == wanted


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


JOB = make_job({"simulators": {"replicas": 2, "minReplicas": 1, "maxReplicas": 3}})
RAW = {"metadata": {"resourceVersion": "7"}, "status": {"simulators": {"ready": 2}}}


def starving(received: float) -> Report:
    waiting = {"learnerFraction": 0.4, "simulatorFraction": 0.0}
    return Report(attempt=1, rank=0, status={"phase": "Running", "waiting": waiting}, received=received)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scaler(clock: Clock) -> SimulatorScaler:
    return SimulatorScaler(Mock(), rest_seconds=60.0, poll_seconds=15.0, clock=clock)


def test_the_end_of_a_rest_is_known_so_that_the_number_can_change_though_nothing_else_does(
    scaler: SimulatorScaler, clock: Clock
) -> None:
    key = (JOB.namespace, JOB.name)
    assert scaler.rests_for(key) is None
    assert scaler.scale(JOB, RAW, [starving(0.0)]) is None
    clock.now = 20.0
    assert scaler.rests_for(key) == 40.0


def test_an_answer_is_acted_on_while_it_is_fresh_and_no_longer(scaler: SimulatorScaler, clock: Clock) -> None:
    scaler.scale(JOB, RAW, [starving(0.0)])
    clock.now = 100.0
    assert scaler.scale(JOB, RAW, [starving(54.0)]) is None
    scaled = scaler.scale(JOB, RAW, [starving(55.0)])
    assert scaled is not None
    assert scaled.replicas == 3
