"""Policy-gradient losses, each a scalar or a vector of samples. N samples, A actions; float32 throughout."""

from __future__ import annotations

import torch

ADVANTAGE_EPSILON = 1e-8
"""Keeps a constant batch of advantages finite; OpenAI Baselines' ppo2."""


def log_prob_and_entropy(logits_NA: torch.Tensor, action_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each action and entropy of each distribution, [N] both."""
    log_prob_NA = torch.log_softmax(logits_NA, dim=-1)
    entropy_N = -(log_prob_NA.exp() * log_prob_NA).sum(-1)
    return log_prob_NA.gather(-1, action_N.unsqueeze(-1)).squeeze(-1), entropy_N


def clipped_surrogate(ratio_N: torch.Tensor, advantage_N: torch.Tensor, clip_range: torch.Tensor) -> torch.Tensor:
    """The loss to minimise: Schulman et al. 2017, equation 7, negated."""
    clipped_N = torch.clamp(ratio_N, 1 - clip_range, 1 + clip_range)
    return -torch.min(ratio_N * advantage_N, clipped_N * advantage_N).mean()


def normalised(advantage: torch.Tensor) -> torch.Tensor:
    """Mean 0, deviation 1 (biased), over all samples."""
    deviation, mean = torch.std_mean(advantage, correction=0)
    return (advantage - mean) / (deviation + ADVANTAGE_EPSILON)
