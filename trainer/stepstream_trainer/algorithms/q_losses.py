"""Losses of Q-learning, one value a sample. N samples, K atoms; float32 throughout."""

from __future__ import annotations

import torch


def huber(error_N: torch.Tensor, delta: float) -> torch.Tensor:
    """Quadratic up to `delta`, linear beyond (Huber 1964); its gradient is the error, clipped (Mnih et al. 2015)."""
    size_N = error_N.abs()
    return torch.where(size_N <= delta, 0.5 * size_N.square(), delta * (size_N - 0.5 * delta))


def cross_entropy(logits_NK: torch.Tensor, target_NK: torch.Tensor) -> torch.Tensor:
    """Of the predicted distributions against the targets: Bellemare et al. 2017, algorithm 1."""
    return -(target_NK * torch.log_softmax(logits_NK, dim=-1)).sum(-1)


def entropy(probability_NK: torch.Tensor) -> torch.Tensor:
    """0 log 0 is 0. The KL divergence is the cross-entropy less this."""
    return -torch.xlogy(probability_NK, probability_NK).sum(-1)
