"""Proximal policy optimisation: epochs of minibatches, the surrogate clipped (Schulman et al. 2017, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stepstream_trainer.config import PPOParameters

from .batch import RolloutBatch
from .clipping import clip_by_global_norm
from .losses import clipped_surrogate, log_prob_and_entropy, normalised
from .networks import ActorCritic
from .permutations import minibatches
from .precision import Precision
from .returns import gae
from .schedules import annealed, learning_rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """What a minibatch learns from, one row a sample."""

    observation_N: torch.Tensor
    action_N: torch.Tensor
    log_prob_N: torch.Tensor
    advantage_N: torch.Tensor
    target_N: torch.Tensor

    def select(self, index: torch.Tensor) -> Samples:
        return Samples(
            observation_N=self.observation_N.index_select(0, index),
            action_N=self.action_N[index],
            log_prob_N=self.log_prob_N[index],
            advantage_N=self.advantage_N[index],
            target_N=self.target_N[index],
        )


class PPOUpdate:
    """Learns from rollouts, in place."""

    def __init__(self, network: ActorCritic, parameters: PPOParameters, precision: Precision, *, seed: int) -> None:
        self._network = network
        self._parameters = parameters
        self._device = precision.device
        self._seed = seed
        flat = nn.Parameter(network.flat.values)
        flat.grad = network.flat.gradients
        self._optimiser = torch.optim.Adam(
            [flat], lr=torch.tensor(parameters.learning_rate), eps=parameters.adam_epsilon, fused=True
        )

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        """All epochs; `progress` is the fraction [0, 1] of the job behind it. Gives what to watch, means by name."""
        parameters = self._parameters
        batch_size = min(parameters.minibatch_size, batch.num_samples)
        step_size = learning_rate(parameters, batch_size=batch_size, progress=progress)
        self._optimiser.param_groups[0]["lr"].fill_(step_size)
        clip_range = torch.tensor(annealed(parameters.clip_range, progress=progress, anneal=parameters.anneal))
        samples = self._samples(batch)
        figures = [
            self._step(samples.select(index.to(self._device)), clip_range)
            for index in minibatches(
                seed=self._seed,
                update_number=update_number,
                epochs=parameters.epochs,
                num_samples=batch.num_samples,
                minibatch_size=parameters.minibatch_size,
            )
        ]
        names = ("policy", "value", "entropy", "approximate_kl", "clip_fraction", "gradient_norm")
        means = torch.stack(figures).mean(0).tolist()  # sync
        return {**dict(zip(names, means, strict=True)), "learning_rate": step_size}

    def state_dict(self) -> dict[str, Any]:
        return self._optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimiser.load_state_dict(state)

    def _samples(self, batch: RolloutBatch) -> Samples:
        parameters = self._parameters
        advantage_TB = gae(batch, discount=parameters.discount, gae_lambda=parameters.gae_lambda)
        return Samples(
            observation_N=batch.observation_N,
            action_N=batch.action_TB.flatten(),
            log_prob_N=batch.log_prob_TB.flatten(),
            advantage_N=advantage_TB.flatten(),
            target_N=(advantage_TB + batch.value_TB).flatten(),
        )

    def _step(self, samples: Samples, clip_range: torch.Tensor) -> torch.Tensor:
        """One minibatch. Figures [6] in the order of `update`'s names."""
        parameters = self._parameters
        advantage_N = normalised(samples.advantage_N) if parameters.normalize_advantages else samples.advantage_N
        self._network.clear_gradients()
        logits_NA, value_N = self._network(samples.observation_N)
        log_prob_N, entropy_N = log_prob_and_entropy(logits_NA, samples.action_N)
        log_ratio_N = log_prob_N - samples.log_prob_N
        ratio_N = log_ratio_N.exp()
        policy_loss = clipped_surrogate(ratio_N, advantage_N, clip_range)
        value_loss = (samples.target_N - value_N).square().mean()
        entropy = entropy_N.mean()
        loss = policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy
        loss.backward()
        norm = clip_by_global_norm(self._network.flat.gradients, parameters.max_grad_norm)
        self._optimiser.step()
        self._network.flat.changed()
        with torch.no_grad():
            kl = (ratio_N - 1 - log_ratio_N).mean()
            clip_fraction = ((ratio_N - 1).abs() > clip_range).float().mean()
            return torch.stack([policy_loss, value_loss, entropy, kl, clip_fraction, norm])
