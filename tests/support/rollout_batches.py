"""Rollouts made up at random, as the learner would hand them to an update."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from stepstream_trainer.algorithms.batch import RolloutBatch

NUM_ACTIONS = 3


def random_batch(
    *, horizon: int = 6, slots: int = 4, seed: int = 0, shape: tuple[int, ...] = (5,), ends: float = 0.3
) -> RolloutBatch:
    """`ends`: the chance that a step ends its episode, for each of the two ways. Images are uint8, vectors float32."""
    generator = torch.Generator().manual_seed(seed)
    step = (horizon, slots)
    observation = torch.randn(*step, *shape, generator=generator)
    if len(shape) == 3:
        observation = torch.randint(0, 256, (*step, *shape), dtype=torch.uint8, generator=generator)
    return RolloutBatch(
        observation_TB=observation,
        action_TB=torch.randint(0, NUM_ACTIONS, step, generator=generator),
        log_prob_TB=-torch.rand(step, generator=generator) - 0.5,
        value_TB=torch.randn(step, generator=generator),
        reward_TB=torch.randn(step, generator=generator),
        terminated_TB=torch.rand(step, generator=generator) < ends,
        truncated_TB=torch.rand(step, generator=generator) < ends,
        final_value_TB=torch.randn(step, generator=generator),
        next_value_B=torch.randn(slots, generator=generator),
        on_policy=True,
    )


def moved(batch: RolloutBatch, device: torch.device) -> RolloutBatch:
    """The same rollout on another device."""
    tensors = {field.name: getattr(batch, field.name) for field in fields(batch) if field.name != "on_policy"}
    return replace(batch, **{name: tensor.to(device) for name, tensor in tensors.items()})
