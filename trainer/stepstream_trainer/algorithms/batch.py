"""What an update learns from. T horizon, B slots, N samples: of a rollout, N = T x B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutBatch:
    """One rollout, all of its tensors on the network's device.

    An episode that ends at step t is marked there: `terminated` where the environment says so (or a life was lost and
    the job counts that as an end), `truncated` where it was only cut. Both may be set; termination wins.
    """

    observation_TB: torch.Tensor
    """[T, B, ...] as the network reads them (`observations.py`)."""
    action_TB: torch.Tensor
    """int64"""
    log_prob_TB: torch.Tensor
    """float32: of the action, under the policy that chose it."""
    value_TB: torch.Tensor
    """float32: of the observation, under the network that acted."""
    reward_TB: torch.Tensor
    """float32, as learned from: clipped if the job says so."""
    terminated_TB: torch.Tensor
    """bool"""
    truncated_TB: torch.Tensor
    """bool"""
    final_value_TB: torch.Tensor
    """float32: of a truncated episode's last observation; read only where `truncated_TB`."""
    next_value_B: torch.Tensor
    """float32: of the observations that follow the rollout, under the network that learns."""
    on_policy: bool
    """Whether the network that acted is the one that learns."""

    @property
    def observation_N(self) -> torch.Tensor:
        """The observations as one batch, a view."""
        return self.observation_TB.flatten(0, 1)

    @property
    def num_samples(self) -> int:
        return self.action_TB.numel()


class Transitions(Protocol):
    """N steps from replay, all of the tensors on the network's device."""

    @property
    def observation_N(self) -> torch.Tensor:
        """[N, ...] as the network reads them (`observations.py`)."""

    @property
    def action_N(self) -> torch.Tensor:
        """int64"""

    @property
    def return_N(self) -> torch.Tensor:
        """float32: discounted rewards of n steps, fewer where the return ended, as learned from."""

    @property
    def next_observation_N(self) -> torch.Tensor:
        """[N, ...]: after these steps. Where the return ended it means nothing."""

    @property
    def bootstrap_N(self) -> torch.Tensor:
        """float32: discount ** steps, and 0 where the return ended."""

    @property
    def weight_N(self) -> torch.Tensor:
        """float32: of each sample in the loss."""
