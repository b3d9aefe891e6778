"""Q-learning's targets and losses against plain NumPy, written from the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepstream_trainer.algorithms import q_targets
from stepstream_trainer.algorithms.q_learning import DistributionObjective
from stepstream_trainer.algorithms.q_losses import cross_entropy, entropy, huber
from stepstream_trainer.algorithms.q_targets import (
    best_actions,
    expected_values,
    projected,
    support,
    taken,
    value_targets,
)

Numbers = NDArray[np.float64]
seeds = st.integers(0, 2**31)
counts = st.integers(1, 40)
CPU = torch.device("cpu")


def tensor(values: Numbers) -> torch.Tensor:
    return torch.tensor(values).float()


def distributions(random: np.random.Generator, count: int, atoms: int) -> Numbers:
    mass: Numbers = random.random((count, atoms)) ** 4
    return mass / mass.sum(-1, keepdims=True)


@given(seed=seeds, count=counts, actions=st.integers(1, 18))
def test_a_target_is_the_return_and_the_discounted_value_of_the_chosen_action(
    seed: int, count: int, actions: int
) -> None:
    random = np.random.default_rng(seed)
    target, online = random.normal(size=(2, count, actions))
    n_step_return, bootstrap = random.normal(size=count), 0.97 * (random.random(count) < 0.8)

    for judging in (target, online):  # plain, double
        chosen = best_actions(tensor(judging))
        actual = value_targets(tensor(n_step_return), tensor(bootstrap), taken(tensor(target), chosen))

        expected = [
            n_step_return[n] + bootstrap[n] * target[n, np.argmax(judging[n].astype(np.float32))] for n in range(count)
        ]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@given(seed=seeds, count=counts, delta=st.floats(0.1, 5))
def test_the_huber_loss_is_quadratic_near_zero_and_linear_beyond(seed: int, count: int, delta: float) -> None:
    error = np.random.default_rng(seed).normal(0, 3, count)
    expected = [0.5 * e**2 if abs(e) <= delta else delta * (abs(e) - delta / 2) for e in error]

    np.testing.assert_allclose(huber(tensor(error), delta), expected, rtol=1e-5, atol=1e-5)


@given(seed=seeds, count=counts, atoms=st.integers(2, 60))
def test_cross_entropy_and_entropy_make_the_divergence(seed: int, count: int, atoms: int) -> None:
    random = np.random.default_rng(seed)
    logits, target = random.normal(size=(count, atoms)) * 3, distributions(random, count, atoms)
    target[:, 0] = 0.0
    target /= np.maximum(target.sum(-1, keepdims=True), 1e-300)
    predicted = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    log_target = np.log(np.where(target > 0, target, 1.0))

    crossed, own = cross_entropy(tensor(logits), tensor(target)), entropy(tensor(target))

    np.testing.assert_allclose(crossed, -(target * np.log(predicted)).sum(-1), rtol=1e-4, atol=1e-5)
    divergence = (target * (log_target - np.log(predicted))).sum(-1)
    np.testing.assert_allclose(crossed - own, divergence, rtol=1e-4, atol=1e-5)


def projection_by_hand(
    n_step_return: Numbers, bootstrap: Numbers, probability: Numbers, low: float, high: float
) -> Numbers:
    """Bellemare et al. 2017, algorithm 1, atom by atom; where an atom is met exactly it takes the whole mass."""
    count, atoms = probability.shape
    spacing, result = (high - low) / (atoms - 1), np.zeros((count, atoms))
    for n in range(count):
        for j in range(atoms):
            moved = np.clip(n_step_return[n] + bootstrap[n] * (low + j * spacing), low, high)
            position = min((moved - low) / spacing, atoms - 1)
            lower, upper = int(np.floor(position)), int(np.ceil(position))
            if lower == upper:
                result[n, lower] += probability[n, j]
            else:
                result[n, lower] += probability[n, j] * (upper - position)
                result[n, upper] += probability[n, j] * (position - lower)
    return result


@settings(deadline=None)
@given(
    seed=seeds,
    count=st.integers(1, 12),
    atoms=st.integers(2, 60),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
    bounds=st.sampled_from([(-10.0, 10.0), (0.0, 100.0), (-1.0, 0.5)]),
)
def test_the_projection_is_the_papers(
    seed: int, count: int, atoms: int, scale: float, bounds: tuple[float, float]
) -> None:
    random = np.random.default_rng(seed)
    probability = distributions(random, count, atoms)
    n_step_return, bootstrap = random.normal(size=count) * scale, 0.99 * (random.random(count) < 0.7)
    atom_returns = support(*bounds, atoms, CPU)

    actual = projected(tensor(n_step_return), tensor(bootstrap), tensor(probability), atom_returns)

    expected = projection_by_hand(n_step_return, bootstrap, probability, *bounds)
    np.testing.assert_allclose(actual, expected, atol=1e-4)  # float32 positions of up to 60 atoms
    np.testing.assert_allclose(actual.sum(-1), 1.0, atol=1e-5)


def test_beyond_the_edges_all_mass_goes_to_the_edge() -> None:
    probability = torch.full((2, 5), 0.2)

    result = projected(torch.tensor([99.0, -99.0]), torch.tensor([0.9, 0.9]), probability, support(-2, 2, 5, CPU))

    torch.testing.assert_close(result, torch.tensor([[0.0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]))


def test_an_ended_return_is_one_point_between_its_neighbours() -> None:
    result = projected(torch.tensor([0.25]), torch.tensor([0.0]), torch.full((1, 5), 0.2), support(-2, 2, 5, CPU))

    torch.testing.assert_close(result, torch.tensor([[0.0, 0, 0.75, 0.25, 0]]))


def test_the_expected_value_of_a_distribution_is_its_mean() -> None:
    probability = torch.tensor([[[0.5, 0.0, 0.5], [0.0, 0.25, 0.75]]])

    assert expected_values(probability, support(-2, 2, 3, CPU)).tolist() == [[0.0, 1.5]]


def test_many_samples_of_many_atoms_are_projected_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    random, atoms, count = np.random.default_rng(3), 11, 23
    given = (random.normal(size=count), random.random(count), distributions(random, count, atoms))
    at_once = projected(*map(tensor, given), support(-2.0, 2.0, atoms, CPU))
    monkeypatch.setattr(q_targets, "MOST_PAIRS", 4 * atoms**2)
    torch.testing.assert_close(projected(*map(tensor, given), support(-2.0, 2.0, atoms, CPU)), at_once)


@given(seed=seeds, count=counts, atoms=st.integers(2, 30))
def test_a_distributions_priority_is_its_divergence_from_the_target(seed: int, count: int, atoms: int) -> None:
    random, support_K = np.random.default_rng(seed), support(-3.0, 3.0, atoms, CPU)
    output, next_output = random.normal(0, 2, (2, count, atoms))
    reward, bootstrap = random.normal(size=count), 0.9 * (random.random(count) < 0.8)

    judged = DistributionObjective(support_K).judge(*map(tensor, (output, next_output, reward, bootstrap)))

    softmax = [np.exp(row) / np.exp(row).sum() for row in next_output]
    target = projected(tensor(reward), tensor(bootstrap), tensor(np.array(softmax)), support_K).double().numpy()
    log_predicted = output - np.log(np.exp(output).sum(-1, keepdims=True))
    log_target = np.log(np.where(target > 0, target, 1.0))
    divergence = (target * (log_target - log_predicted)).sum(-1)
    np.testing.assert_allclose(judged.priority_N, np.maximum(divergence, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(judged.loss_N, -(target * log_predicted).sum(-1), rtol=1e-5, atol=1e-5)
