"""Advantage actor-critic: one step of the optimiser on the whole rollout (Mnih et al. 2016, algorithm S3).

Where another network acted than the one that learns, steps are weighed by V-trace (Espeholt et al. 2018); where both
are one, that gives the same targets.
"""

from __future__ import annotations

from typing import Any

import torch

from stepstream_trainer.config import A2CParameters

from .batch import RolloutBatch
from .descent import Descent
from .graphs import Recorded
from .losses import log_prob_and_entropy, normalised
from .networks import ActorCritic
from .precision import Precision
from .returns import gae, vtrace
from .schedules import learning_rate
from .together import Alone, Together, normalised_together

FIGURES = ("policy", "value", "entropy", "gradient_norm")


class A2CUpdate:
    """Learns from rollouts, in place."""

    def __init__(
        self,
        network: ActorCritic,
        parameters: A2CParameters,
        precision: Precision,
        descent: Descent,
        together: Together | None = None,
    ) -> None:
        self._network = network
        self._parameters = parameters
        self._descent = descent
        self._together = together or Alone()
        self._gradients = Recorded(self._write_gradients, precision.device)
        self._corrected_gradients = Recorded(self._write_corrected_gradients, precision.device)

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        """One step; `progress` is the fraction [0, 1] of the job behind it. Gives what to watch, by name."""
        del update_number  # nothing here is random
        batch_size = batch.num_samples * self._together.size
        step_size = learning_rate(self._parameters, batch_size=batch_size, progress=progress)
        self._network.refresh()
        losses = self._learn(batch) if batch.on_policy else self._learn_corrected(batch)
        norm = self._descent.step(step_size)
        values = torch.cat([losses, norm.view(1)]).tolist()  # sync
        return {**dict(zip(FIGURES, values, strict=True)), "learning_rate": step_size}

    def state_dict(self) -> dict[str, Any]:
        return self._descent.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._descent.load_state_dict(state)

    def _learn(self, batch: RolloutBatch) -> torch.Tensor:
        """Gradients to the flat buffer. Gives policy loss, value loss and entropy."""
        parameters = self._parameters
        advantage_TB = gae(batch, discount=parameters.discount, gae_lambda=parameters.gae_lambda)
        target_TB = advantage_TB + batch.value_TB
        if parameters.normalize_advantages:
            advantage_TB = normalised_together(advantage_TB, self._together)
        columns = (batch.action_TB, advantage_TB, target_TB)
        (losses,) = self._gradients(batch.observation_N, *(column.flatten() for column in columns))
        return losses

    def _learn_corrected(self, batch: RolloutBatch) -> torch.Tensor:
        """As `_learn`, from what another policy did."""
        (losses,) = self._corrected_gradients(
            batch.observation_TB,
            batch.action_TB,
            batch.log_prob_TB,
            batch.reward_TB,
            batch.terminated_TB,
            batch.truncated_TB,
            batch.final_value_TB,
            batch.next_value_B,
        )
        return losses

    def _write_gradients(
        self, observation_N: torch.Tensor, action_N: torch.Tensor, advantage_N: torch.Tensor, target_N: torch.Tensor
    ) -> tuple[torch.Tensor]:
        self._network.clear_gradients()
        logits_NA, value_N = self._network(observation_N)
        log_prob_N, entropy_N = log_prob_and_entropy(logits_NA, action_N)
        return self._write(log_prob_N, value_N, entropy_N, advantage_N, target_N)

    def _write_corrected_gradients(
        self,
        observation_TB: torch.Tensor,
        action_TB: torch.Tensor,
        log_prob_TB: torch.Tensor,
        reward_TB: torch.Tensor,
        terminated_TB: torch.Tensor,
        truncated_TB: torch.Tensor,
        final_value_TB: torch.Tensor,
        next_value_B: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        """One forward pass serves both: what the network holds of the steps now, and the gradients."""
        parameters, shape = self._parameters, action_TB.shape
        self._network.clear_gradients()
        logits_NA, value_N = self._network(observation_TB.flatten(0, 1))
        log_prob_N, entropy_N = log_prob_and_entropy(logits_NA, action_TB.flatten())
        seen = RolloutBatch(
            observation_TB=observation_TB,
            action_TB=action_TB,
            log_prob_TB=log_prob_TB,
            value_TB=value_N.detach().view(shape),
            reward_TB=reward_TB,
            terminated_TB=terminated_TB,
            truncated_TB=truncated_TB,
            final_value_TB=final_value_TB,
            next_value_B=next_value_B,
            on_policy=False,
        )
        log_ratio_TB = log_prob_N.detach().view(shape) - log_prob_TB
        target_TB, advantage_TB = vtrace(
            seen, log_ratio_TB, discount=parameters.discount, trace_decay=parameters.gae_lambda
        )
        if parameters.normalize_advantages:
            advantage_TB = normalised(advantage_TB)
        return self._write(log_prob_N, value_N, entropy_N, advantage_TB.flatten(), target_TB.flatten())

    def _write(
        self,
        log_prob_N: torch.Tensor,
        value_N: torch.Tensor,
        entropy_N: torch.Tensor,
        advantage_N: torch.Tensor,
        target_N: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        parameters = self._parameters
        policy_loss = -(advantage_N * log_prob_N).mean()
        value_loss = (target_N - value_N).square().mean()
        entropy = entropy_N.mean()
        loss = policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy
        loss.backward()  # type: ignore[no-untyped-call]
        return (torch.stack([policy_loss.detach(), value_loss.detach(), entropy.detach()]),)
