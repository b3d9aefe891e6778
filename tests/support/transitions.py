"""Batches of steps as a replay gives them, at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stepstream_trainer.algorithms.observations import BlockImages, Images, ObservationSpec, Vectors


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """`algorithms.batch.Transitions`."""

    observation_N: torch.Tensor
    action_N: torch.Tensor
    return_N: torch.Tensor
    next_observation_N: torch.Tensor
    bootstrap_N: torch.Tensor
    weight_N: torch.Tensor


def random_steps(spec: ObservationSpec, num_actions: int, *, count: int = 24, seed: int = 5) -> Steps:
    """A fifth of the returns have ended."""
    random = torch.Generator().manual_seed(seed)
    return Steps(
        observation_N=random_observations(spec, count, random),
        action_N=torch.randint(0, num_actions, (count,), generator=random),
        return_N=torch.randn(count, generator=random) * 2,
        next_observation_N=random_observations(spec, count, random),
        bootstrap_N=0.99 * (torch.rand(count, generator=random) < 0.8),
        weight_N=torch.rand(count, generator=random) + 0.1,
    )


def random_observations(spec: ObservationSpec, count: int, random: torch.Generator) -> torch.Tensor:
    match spec:
        case BlockImages():
            shape = (count, spec.rows, spec.columns, 16 * spec.frames * spec.colours)
        case Images():
            shape = (count, spec.height, spec.width, spec.channels)
        case Vectors():
            return torch.randn(count, spec.size, generator=random)
        case _:
            return torch.randint(0, spec.count, (count,), generator=random)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
