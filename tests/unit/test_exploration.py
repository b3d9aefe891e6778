"""Exploration: how often it happens, who does it, and that it is a function of what it is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stepstream_trainer.algorithms.q_policy import epsilon_greedy
from stepstream_trainer.algorithms.schedules import epsilons, importance_exponent
from stepstream_trainer.config import DQNParameters
from stepstream_trainer.seeding import uniforms

SLOTS = np.arange(8, dtype=np.uint64)
DECAYING = DQNParameters(final_epsilon=0.1, epsilon_decay_steps=1000)


@pytest.mark.parametrize(("steps", "expected"), [(0, 1.0), (500, 0.55), (1000, 0.1), (10**9, 0.1)])
def test_epsilon_falls_linearly_to_its_final_value(steps: int, expected: float) -> None:
    np.testing.assert_allclose(epsilons(DECAYING, SLOTS, num_slots=8, steps=steps), expected, rtol=1e-6)


def test_slots_can_end_with_epsilons_of_their_own_at_equal_ratios() -> None:
    spread = DQNParameters(final_epsilon=0.64, lowest_final_epsilon=0.005, epsilon_decay_steps=1000)

    final = epsilons(spread, SLOTS, num_slots=8, steps=1000)

    np.testing.assert_allclose(final, [0.64 / 2**slot for slot in range(8)], rtol=1e-5)
    np.testing.assert_allclose(epsilons(spread, SLOTS, num_slots=8, steps=0), 1.0)


def test_a_learners_slots_take_their_part_of_all_learners_epsilons() -> None:
    spread = DQNParameters(final_epsilon=0.4, lowest_final_epsilon=0.001, epsilon_decay_steps=10)

    whole = epsilons(spread, SLOTS, num_slots=8, steps=10)

    np.testing.assert_array_equal(epsilons(spread, SLOTS[4:], num_slots=8, steps=10), whole[4:])


def test_actions_are_random_as_often_as_epsilon_says_and_then_all_alike() -> None:
    count, epsilon, actions = 60_000, 0.3, 5
    values = torch.zeros(count, actions)
    values[:, 2] = 1.0
    uniform = torch.from_numpy(uniforms(1, np.arange(count, dtype=np.uint64), 7))

    chosen = epsilon_greedy(values, uniform, torch.full((count,), epsilon))

    frequency = np.bincount(chosen.numpy(), minlength=actions) / count
    expected = np.full(actions, epsilon / actions)
    expected[2] += 1 - epsilon
    deviation = np.sqrt(expected * (1 - expected) / count)
    assert (abs(frequency - expected) < 4.5 * deviation).all()


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_without_epsilon_nothing_is_random_and_with_all_of_it_every_action_exists(uniform: float) -> None:
    values = torch.tensor([[0.0, 2.0, 1.0]])

    assert epsilon_greedy(values, torch.tensor([uniform]), torch.tensor([0.0])).tolist() == [1]
    assert epsilon_greedy(values, torch.tensor([uniform]), torch.tensor([1.0])).tolist() == [int(3 * uniform)]


def test_the_importance_exponent_rises_to_one_over_the_job() -> None:
    parameters = DQNParameters(importance_exponent=0.4)

    assert [importance_exponent(parameters, progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.4, 0.7, 1.0])
