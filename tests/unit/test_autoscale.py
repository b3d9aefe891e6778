"""How many simulators a job should have, from what learners and simulators wait for."""

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
    ],
    ids=["starved", "few", "near the maximum", "at the maximum", "idle", "at the minimum", "matched", "in between"],
)
def test_the_number_follows_the_waiting(replicas: int, learner: float, simulator: float, wanted: int | None) -> None:
    decided = decide_simulators(replicas, LIMITS, Waiting(learner=learner, simulator=simulator))
    assert (decided.replicas if decided else None) == wanted


def test_the_reason_is_stated() -> None:
    decided = decide_simulators(8, LIMITS, Waiting(learner=0.4, simulator=0.0))
    assert decided is not None
    assert decided.reason == "learners wait 40% of their time for simulators"


def test_the_end_of_a_rest_is_known_so_that_the_number_can_change_though_nothing_else_does() -> None:
    job = make_job({"simulators": {"replicas": 2, "minReplicas": 1, "maxReplicas": 3}})
    waiting = {"learnerFraction": 0.4, "simulatorFraction": 0.0}
    starving = Report(attempt=1, rank=0, status={"phase": "Running", "waiting": waiting}, received=0.0)
    scaler, key = SimulatorScaler(Mock(), rest_seconds=60.0), (job.namespace, job.name)

    assert scaler.rests_for(key) is None
    assert scaler.scale(job, {}, [starving]) is None
    assert 59.0 < (scaler.rests_for(key) or 0.0) <= 60.0
