"""Advantage actor-critic: one step of the optimiser on the whole rollout (Mnih et al. 2016, algorithm S3)."""

from __future__ import annotations

from typing import Any

import torch

from stepstream_trainer.config import A2CParameters

from .batch import RolloutBatch
from .clipping import clip_by_global_norm
from .losses import log_prob_and_entropy, normalised
from .networks import ActorCritic
from .precision import Precision
from .returns import gae
from .rmsprop import RMSProp
from .schedules import learning_rate


class A2CUpdate:
    """Learns from rollouts, in place."""

    def __init__(self, network: ActorCritic, parameters: A2CParameters, precision: Precision, *, seed: int) -> None:
        del precision, seed  # the network's format is its own; nothing here is random
        self._network = network
        self._parameters = parameters
        self._optimiser = RMSProp(
            network.flat.values, network.flat.gradients, rho=parameters.rms_rho, epsilon=parameters.rms_epsilon
        )

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        """One step; `progress` is the fraction [0, 1] of the job behind it. Gives what to watch, by name."""
        del update_number
        step_size = learning_rate(self._parameters, batch_size=batch.num_samples, progress=progress)
        figures = self._accumulate_gradients(batch)
        norm = clip_by_global_norm(self._network.flat.gradients, self._parameters.max_grad_norm)
        self._optimiser.step(step_size)
        self._network.flat.changed()
        policy, value, entropy, norm_before = torch.stack([*figures, norm]).tolist()  # sync
        return {
            "policy": policy,
            "value": value,
            "entropy": entropy,
            "gradient_norm": norm_before,
            "learning_rate": step_size,
        }

    def state_dict(self) -> dict[str, Any]:
        return self._optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimiser.load_state_dict(state)

    def _accumulate_gradients(self, batch: RolloutBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Policy loss, value loss and entropy, detached."""
        parameters = self._parameters
        advantage_TB = gae(batch, discount=parameters.discount, gae_lambda=parameters.gae_lambda)
        target_N = (advantage_TB + batch.value_TB).flatten()
        advantage_N = advantage_TB.flatten()
        if parameters.normalize_advantages:
            advantage_N = normalised(advantage_N)
        self._network.clear_gradients()
        logits_NA, value_N = self._network(batch.observation_N)
        log_prob_N, entropy_N = log_prob_and_entropy(logits_NA, batch.action_TB.flatten())
        policy_loss = -(advantage_N * log_prob_N).mean()
        value_loss = (target_N - value_N).square().mean()
        entropy = entropy_N.mean()
        loss = policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy
        loss.backward()
        return policy_loss.detach(), value_loss.detach(), entropy.detach()
