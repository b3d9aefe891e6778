"""Advantage actor-critic: one step of the optimiser on the whole rollout (Mnih et al. 2016, algorithm S3)."""

from __future__ import annotations

from typing import Any

import torch

from stepstream_trainer.config import A2CParameters

from .batch import RolloutBatch
from .clipping import clip_by_global_norm
from .graphs import Recorded
from .losses import log_prob_and_entropy, normalised
from .networks import ActorCritic
from .precision import Precision
from .returns import gae
from .rmsprop import RMSProp
from .schedules import learning_rate

FIGURES = ("policy", "value", "entropy", "gradient_norm")


class A2CUpdate:
    """Learns from rollouts, in place."""

    def __init__(self, network: ActorCritic, parameters: A2CParameters, precision: Precision, *, seed: int) -> None:
        del seed  # nothing here is random
        self._network = network
        self._parameters = parameters
        self._gradients = Recorded(self._write_gradients, precision.device)
        self._optimiser = RMSProp(network.flat, rho=parameters.rms_rho, epsilon=parameters.rms_epsilon)

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        """One step; `progress` is the fraction [0, 1] of the job behind it. Gives what to watch, by name."""
        del update_number
        step_size = learning_rate(self._parameters, batch_size=batch.num_samples, progress=progress)
        advantage_TB = gae(batch, discount=self._parameters.discount, gae_lambda=self._parameters.gae_lambda)
        target_TB = advantage_TB + batch.value_TB
        self._network.refresh()
        (figures,) = self._gradients(
            batch.observation_N, batch.action_TB.flatten(), advantage_TB.flatten(), target_TB.flatten()
        )
        self._optimiser.step(step_size)
        return {**dict(zip(FIGURES, figures.tolist(), strict=True)), "learning_rate": step_size}  # sync

    def state_dict(self) -> dict[str, Any]:
        return self._optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimiser.load_state_dict(state)

    def _write_gradients(
        self, observation_N: torch.Tensor, action_N: torch.Tensor, advantage_N: torch.Tensor, target_N: torch.Tensor
    ) -> tuple[torch.Tensor]:
        """Clipped gradients to the network's flat buffer. Gives FIGURES."""
        parameters = self._parameters
        if parameters.normalize_advantages:
            advantage_N = normalised(advantage_N)
        self._network.clear_gradients()
        logits_NA, value_N = self._network(observation_N)
        log_prob_N, entropy_N = log_prob_and_entropy(logits_NA, action_N)
        policy_loss = -(advantage_N * log_prob_N).mean()
        value_loss = (target_N - value_N).square().mean()
        entropy = entropy_N.mean()
        loss = policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy
        loss.backward()
        norm = clip_by_global_norm(self._network.flat.gradients, parameters.max_grad_norm)
        return (torch.stack([policy_loss.detach(), value_loss.detach(), entropy.detach(), norm]),)
