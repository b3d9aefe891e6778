"""The training intensity is kept exactly: the updates due depend on how far the job is, and on nothing else."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.config import DQNParameters
from stepstream_trainer.learner.intensity import Intensity

hundredths = st.integers(1, 100_000)


def parameters(intensity: float = 8.0, batch: int = 32, starts: int = 1000) -> DQNParameters:
    return DQNParameters(training_intensity=intensity, batch_size=batch, learning_starts_steps=starts)


@given(hundredths=hundredths, batch=st.integers(1, 4096), starts=st.integers(0, 10**5), steps=st.integers(0, 10**9))
def test_what_is_due_is_the_exact_quotient_rounded_down(hundredths: int, batch: int, starts: int, steps: int) -> None:
    due = Intensity(parameters(hundredths / 100, batch, starts)).due(steps)

    learned_from = max(0, steps - starts)
    assert due * batch * 100 <= hundredths * learned_from < (due + 1) * batch * 100


@given(
    hundredths=hundredths, stints=st.lists(st.integers(1, 500), min_size=1, max_size=60), resume_at=st.integers(0, 59)
)
def test_it_never_drifts_whatever_the_stints_and_the_resumes(
    hundredths: int, stints: list[int], resume_at: int
) -> None:
    rule, steps = Intensity(parameters(hundredths / 100)), 0
    for number, stint in enumerate(stints):
        steps += stint
        rule.updates += len(range(rule.updates, rule.due(steps)))
        if number == resume_at:
            state, rule = rule.state_dict(), Intensity(parameters(hundredths / 100))
            rule.load_state_dict(state)

    assert rule.updates == Fraction(hundredths, 100) * max(0, steps - 1000) // 32


def test_nothing_is_due_before_learning_starts() -> None:
    rule = Intensity(parameters())

    assert [rule.due(steps) for steps in (0, 1000, 1003, 1004, 1008)] == [0, 0, 0, 1, 2]


def test_an_empty_replay_fills_again_before_learning_goes_on() -> None:
    rule = Intensity(parameters())
    rule.updates = rule.due(5000)

    rule.refill(5000)

    assert rule.due(6000) == rule.updates == 1000
    assert rule.due(6004) == rule.updates + 1
    assert rule.reached(6000) == 0.0


def test_learners_apart_begin_when_their_job_has_made_the_first_steps() -> None:
    rule = Intensity(parameters(starts=1001), apart=2)

    assert [rule.due(steps) for steps in (501, 504, 505, 509)] == [0, 0, 1, 2]


@pytest.mark.parametrize("intensity", [0.1, 0.3, 8.0])
def test_the_ratio_reached_is_the_one_asked_for(intensity: float) -> None:
    rule = Intensity(parameters(intensity))

    rule.updates = rule.due(10**6)
    reached = rule.reached(10**6)

    assert reached == pytest.approx(intensity, rel=1e-3)
    assert reached <= intensity == rule.asked
