"""Advantages and targets against a few lines of plain NumPy written from each paper's formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.returns import gae, n_step_returns, vtrace
from tests.support.rollout_batches import random_batch

Array = NDArray[np.float64]

batches = st.builds(
    random_batch,
    horizon=st.integers(1, 12),
    slots=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    ends=st.sampled_from([0.0, 0.2, 1.0]),
)
fractions = st.floats(0, 1)


def numpy_of(tensor: torch.Tensor) -> Array:
    return tensor.numpy().astype(np.float64)


def assert_close(actual: torch.Tensor, expected: Array) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)


def following(batch: RolloutBatch, values: Array, t: int, b: int) -> tuple[float, bool]:
    """What follows step t of slot b: its value, and whether the episode goes on."""
    if batch.terminated_TB[t, b]:
        return 0.0, False
    if batch.truncated_TB[t, b]:
        return float(batch.final_value_TB[t, b]), False
    horizon = len(batch.reward_TB)
    return float(values[t + 1, b] if t + 1 < horizon else batch.next_value_B[b]), True


@given(batch=batches, discount=fractions, gae_lambda=fractions)
def test_gae_is_the_papers_sum(batch: RolloutBatch, discount: float, gae_lambda: float) -> None:
    reward, value = numpy_of(batch.reward_TB), numpy_of(batch.value_TB)
    expected = np.zeros_like(reward)
    for b in range(reward.shape[1]):
        advantage = 0.0
        for t in reversed(range(len(reward))):
            next_value, goes_on = following(batch, value, t, b)
            delta = reward[t, b] + discount * next_value - value[t, b]
            advantage = delta + discount * gae_lambda * advantage * goes_on
            expected[t, b] = advantage

    assert_close(gae(batch, discount=discount, gae_lambda=gae_lambda), expected)


@given(batch=batches, discount=fractions)
def test_n_step_returns_are_the_papers_sum(batch: RolloutBatch, discount: float) -> None:
    reward, value = numpy_of(batch.reward_TB), numpy_of(batch.value_TB)
    expected = np.zeros_like(reward)
    for b in range(reward.shape[1]):
        for start in range(len(reward)):
            total, weight = 0.0, 1.0
            for t in range(start, len(reward)):
                total += weight * reward[t, b]
                weight *= discount
                next_value, goes_on = following(batch, value, t, b)
                if not goes_on or t == len(reward) - 1:
                    total += weight * next_value
                    break
            expected[start, b] = total

    assert_close(n_step_returns(batch, discount=discount), expected)


@given(batch=batches, discount=fractions, seed=st.integers(0, 1000), max_c=st.floats(0.1, 2), decay=fractions)
def test_vtrace_is_the_papers_sum(batch: RolloutBatch, discount: float, seed: int, max_c: float, decay: float) -> None:
    log_ratio = torch.randn(batch.reward_TB.shape, generator=torch.Generator().manual_seed(seed))
    ratio = np.exp(numpy_of(log_ratio))
    rho, c = np.minimum(ratio, 1.0), decay * np.minimum(ratio, max_c)
    reward, value = numpy_of(batch.reward_TB), numpy_of(batch.value_TB)
    target, advantage = np.zeros_like(reward), np.zeros_like(reward)
    for b in range(reward.shape[1]):
        correction = 0.0  # v_{t+1} - V(x_{t+1})
        for t in reversed(range(len(reward))):
            next_value, goes_on = following(batch, value, t, b)
            correction = correction if goes_on else 0.0
            advantage[t, b] = rho[t, b] * (reward[t, b] + discount * (next_value + correction) - value[t, b])
            delta = rho[t, b] * (reward[t, b] + discount * next_value - value[t, b])
            correction = delta + discount * c[t, b] * correction
            target[t, b] = value[t, b] + correction

    actual_target, actual_advantage = vtrace(batch, log_ratio, discount=discount, trace_decay=decay, max_c=max_c)
    assert_close(actual_target, target)
    assert_close(actual_advantage, advantage)


@given(batch=batches, discount=fractions)
def test_on_policy_vtrace_targets_are_the_n_step_returns(batch: RolloutBatch, discount: float) -> None:
    target, _ = vtrace(batch, torch.zeros_like(batch.reward_TB), discount=discount)

    torch.testing.assert_close(target, n_step_returns(batch, discount=discount), rtol=1e-4, atol=1e-4)


def test_truncation_bootstraps_from_the_last_observation_and_termination_from_nothing() -> None:
    quiet = random_batch(horizon=1, slots=2, ends=0.0)
    batch = replace(
        quiet,
        terminated_TB=torch.tensor([[True, False]]),
        truncated_TB=torch.tensor([[False, True]]),
        final_value_TB=torch.tensor([[7.0, 10.0]]),
    )

    returns = n_step_returns(batch, discount=0.5)

    torch.testing.assert_close(returns[0], batch.reward_TB[0] + torch.tensor([0.0, 5.0]))


def test_an_episode_that_is_both_truncated_and_terminated_counts_as_terminated() -> None:
    both = torch.tensor([[True]])
    batch = replace(random_batch(horizon=1, slots=1), terminated_TB=both, truncated_TB=both)

    torch.testing.assert_close(n_step_returns(batch, discount=0.9), batch.reward_TB)
