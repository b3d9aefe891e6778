"""Proximal policy optimisation: epochs of minibatches, the surrogate clipped (Schulman et al. 2017, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stepstream_trainer.config import PPOParameters

from .batch import RolloutBatch
from .descent import Descent
from .graphs import Recorded
from .losses import clipped_surrogate, log_prob_and_entropy
from .networks import ActorCritic
from .permutations import minibatches
from .precision import Precision
from .returns import gae
from .schedules import adapted, annealed, learning_rate
from .together import Alone, Together, normalised_together

FIGURES = ("policy", "value", "entropy", "approximate_kl", "clip_fraction", "gradient_norm")
KL = FIGURES.index("approximate_kl")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Samples:
    """What is learned from, one row a sample."""

    observation_N: torch.Tensor
    action_N: torch.Tensor
    log_prob_N: torch.Tensor
    advantage_N: torch.Tensor
    target_N: torch.Tensor

    def select(self, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
        columns = (self.observation_N, self.action_N, self.log_prob_N, self.advantage_N, self.target_N)
        return tuple(column.index_select(0, index) for column in columns)


class PPOUpdate:
    """Learns from rollouts, in place."""

    def __init__(
        self,
        network: ActorCritic,
        parameters: PPOParameters,
        precision: Precision,
        descent: Descent,
        together: Together | None = None,
        *,
        seed: int,
    ) -> None:
        """`parameters.minibatch_size` is that of all who learn together."""
        self._network = network
        self._descent = descent
        self._together = together or Alone()
        self._parameters = parameters
        self._device = precision.device
        self._seed = seed
        self._rate_factor = 1.0
        self._gradients = Recorded(self._write_gradients, precision.device)

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        """All epochs; `progress` is the fraction [0, 1] of the job behind it. Gives what to watch, means by name."""
        parameters = self._parameters
        clip_range = torch.tensor(annealed(parameters.clip_range, progress=progress, anneal=parameters.anneal))
        minibatch_size = parameters.minibatch_size // self._together.size
        batch_size = min(minibatch_size, batch.num_samples) * self._together.size
        step_size = learning_rate(parameters, batch_size=batch_size, progress=progress)
        samples, figures = self._samples(batch), []
        for epoch in minibatches(
            seed=self._seed,
            update_number=update_number,
            epochs=parameters.epochs,
            num_samples=batch.num_samples,
            minibatch_size=minibatch_size,
        ):
            steps = [self._step(samples, index, clip_range, step_size * self._rate_factor) for index in epoch]
            figures.append(torch.stack(steps).mean(0))
            if parameters.target_kl > 0:
                self._together.average(figures[-1][KL])
                kl = figures[-1][KL].item()  # sync
                self._rate_factor = adapted(self._rate_factor, kl=kl, target_kl=parameters.target_kl)
        means = torch.stack(figures).mean(0).tolist()  # sync
        return {**dict(zip(FIGURES, means, strict=True)), "learning_rate": step_size * self._rate_factor}

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self._descent.state_dict(), "rate_factor": self._rate_factor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._descent.load_state_dict(state["adam"])
        self._rate_factor = state["rate_factor"]

    def _samples(self, batch: RolloutBatch) -> _Samples:
        parameters = self._parameters
        advantage_TB = gae(batch, discount=parameters.discount, gae_lambda=parameters.gae_lambda)
        return _Samples(
            observation_N=batch.observation_N,
            action_N=batch.action_TB.flatten(),
            log_prob_N=batch.log_prob_TB.flatten(),
            advantage_N=advantage_TB.flatten(),
            target_N=(advantage_TB + batch.value_TB).flatten(),
        )

    def _step(self, samples: _Samples, index: torch.Tensor, clip_range: torch.Tensor, step_size: float) -> torch.Tensor:
        """Learn from one minibatch. Gives its FIGURES."""
        self._network.refresh()
        observation_N, action_N, log_prob_N, advantage_N, target_N = samples.select(index.to(self._device))
        if self._parameters.normalize_advantages:
            advantage_N = normalised_together(advantage_N, self._together)
        (losses,) = self._gradients(observation_N, action_N, log_prob_N, advantage_N, target_N, clip_range)
        norm = self._descent.step(step_size)
        return torch.cat([losses, norm.view(1)])

    def _write_gradients(
        self,
        observation_N: torch.Tensor,
        action_N: torch.Tensor,
        old_log_prob_N: torch.Tensor,
        advantage_N: torch.Tensor,
        target_N: torch.Tensor,
        clip_range: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        """Gradients to the network's flat buffer. Gives FIGURES but for the last."""
        parameters = self._parameters
        self._network.clear_gradients()
        logits_NA, value_N = self._network(observation_N)
        log_prob_N, entropy_N = log_prob_and_entropy(logits_NA, action_N)
        log_ratio_N = log_prob_N - old_log_prob_N
        ratio_N = log_ratio_N.exp()
        policy_loss = clipped_surrogate(ratio_N, advantage_N, clip_range)
        value_loss = (target_N - value_N).square().mean()
        entropy = entropy_N.mean()
        loss = policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy
        loss.backward()
        with torch.no_grad():
            kl = (ratio_N - 1 - log_ratio_N).mean()  # Schulman 2020, "Approximating KL divergence": unbiased, never < 0
            clip_fraction = ((ratio_N - 1).abs() > clip_range).float().mean()
            return (torch.stack([policy_loss, value_loss, entropy, kl, clip_fraction]),)
