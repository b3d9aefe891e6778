"""Learners that take every step alike: each has gradients of its own samples, and all step by their mean."""

from __future__ import annotations

from typing import Protocol

import torch

from .losses import ADVANTAGE_EPSILON, normalised


class Together(Protocol):
    """The learners of a job in `Sync` mode. Each must call the same methods in the same order."""

    @property
    def size(self) -> int:
        """How many they are."""

    def average(self, values: torch.Tensor) -> None:
        """In place, float32: the mean over all learners, the same bits for each of them."""

    def close(self) -> None:
        """There is nothing left to average."""


class Alone:
    """One learner, or one that steps without the others."""

    size = 1

    def average(self, values: torch.Tensor) -> None:
        """It is the mean already."""

    def close(self) -> None: ...


def normalised_together(advantage: torch.Tensor, together: Together) -> torch.Tensor:
    """Mean 0, deviation 1 (biased) over all learners' samples, of which each has equally many."""
    if together.size == 1:
        return normalised(advantage)
    mean = advantage.mean()
    together.average(mean)
    variance = (advantage - mean).square().mean()
    together.average(variance)
    return (advantage - mean) / (variance.sqrt() + ADVANTAGE_EPSILON)
