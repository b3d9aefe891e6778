"""How many simulators a job should have, from what learners and simulators wait for."""

import pytest

from stepstream_operator.controller.autoscale import Limits, Waiting, decide_simulators

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
