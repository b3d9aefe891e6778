"""Losses against plain NumPy."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.algorithms.clipping import clip_by_global_norm
from stepstream_trainer.algorithms.losses import clipped_surrogate, log_prob_and_entropy, normalised

seeds = st.integers(0, 2**31)


@given(seed=seeds, clip_range=st.floats(0.01, 0.5), count=st.integers(1, 50))
def test_the_clipped_surrogate_is_equation_7(seed: int, clip_range: float, count: int) -> None:
    random = np.random.default_rng(seed)
    ratio, advantage = np.exp(random.normal(size=count)), random.normal(size=count)
    expected = -np.mean(np.minimum(ratio * advantage, np.clip(ratio, 1 - clip_range, 1 + clip_range) * advantage))

    loss = clipped_surrogate(
        torch.tensor(ratio).float(), torch.tensor(advantage).float(), torch.tensor(clip_range).float()
    )

    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5, atol=1e-5)


@given(seed=seeds, count=st.integers(1, 20), actions=st.integers(1, 18), scale=st.sampled_from([0.01, 1.0, 10.0]))
def test_log_probabilities_and_entropy_are_those_of_the_softmax(
    seed: int, count: int, actions: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    logits, action = random.normal(size=(count, actions)) * scale, random.integers(0, actions, count)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

    log_prob, entropy = log_prob_and_entropy(torch.tensor(logits).float(), torch.tensor(action))

    np.testing.assert_allclose(log_prob, np.log(probability[np.arange(count), action]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(entropy, -(probability * np.log(probability)).sum(-1), rtol=1e-4, atol=1e-5)


@given(seed=seeds, count=st.integers(2, 100))
def test_normalised_advantages_have_mean_0_and_deviation_1(seed: int, count: int) -> None:
    advantage = np.random.default_rng(seed).normal(3, 2, count)

    actual = normalised(torch.tensor(advantage).float())

    np.testing.assert_allclose(actual, (advantage - advantage.mean()) / advantage.std(), rtol=1e-3, atol=1e-3)


def test_a_single_advantage_normalises_to_zero() -> None:
    assert normalised(torch.tensor([4.0])).tolist() == [0.0]


@given(seed=seeds, max_norm=st.floats(0.01, 100))
def test_clipping_scales_the_gradient_to_the_norm_or_leaves_it(seed: int, max_norm: float) -> None:
    gradient = np.random.default_rng(seed).normal(size=20)
    norm = np.sqrt((gradient**2).sum())
    flat = torch.tensor(gradient).float()

    before = clip_by_global_norm(flat, max_norm)

    np.testing.assert_allclose(before.item(), norm, rtol=1e-5)
    np.testing.assert_allclose(flat, gradient * min(1.0, max_norm / norm), rtol=1e-4, atol=1e-6)
