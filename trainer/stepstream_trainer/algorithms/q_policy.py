"""Acting on action values: the best one, or with a probability any one.

N rows, A actions. The result is a function of observations, uniforms and parameters: no generator of its own.
"""

from __future__ import annotations

import torch

from .graphs import Recorded
from .precision import Precision
from .q_networks import QNetwork
from .q_targets import best_actions, expected_values
from .threads import limited_threads

SMALLEST = 1e-9
"""Keeps the quotient finite where there is no exploration."""


class QPolicy:
    """The network as it is at each call. Any one thread at a time; actions are in host memory."""

    def __init__(
        self,
        network: QNetwork,
        precision: Precision,
        *,
        support_K: torch.Tensor | None,
        most_threads: int | None = None,
    ) -> None:
        """`support_K` is given where the network gives distributions; `most_threads` None: all."""
        self._network = network
        self._most_threads = most_threads
        self._support_K = support_K
        self._act = Recorded(self._choose, precision.device)

    @torch.inference_mode()
    def act(self, observation: torch.Tensor, uniform_N: torch.Tensor, epsilon_N: torch.Tensor) -> torch.Tensor:
        """Actions int64 [N]; `uniform_N` float32 in [0, 1), `epsilon_N` the probabilities of a random action."""
        with limited_threads(self._most_threads):
            self._network.refresh()
            (action_N,) = self._act(observation, uniform_N, epsilon_N)
            return action_N.cpu()  # sync

    def _choose(
        self, observation: torch.Tensor, uniform_N: torch.Tensor, epsilon_N: torch.Tensor
    ) -> tuple[torch.Tensor]:
        value_NA = action_values(self._network(observation), self._support_K)
        return (epsilon_greedy(value_NA, uniform_N, epsilon_N),)


def action_values(output: torch.Tensor, support_K: torch.Tensor | None) -> torch.Tensor:
    """Values [N, A] of a network's output: values as they are, or logits [N, A, K] over `support_K`."""
    return output if support_K is None else expected_values(torch.softmax(output, dim=-1), support_K)


def epsilon_greedy(value_NA: torch.Tensor, uniform_N: torch.Tensor, epsilon_N: torch.Tensor) -> torch.Tensor:
    """The best action where the uniform is at least epsilon; else the one that the uniform's place below it points to.

    One uniform serves both choices: given that it is below epsilon, uniform / epsilon is uniform again.
    """
    num_actions = value_NA.shape[-1]
    random_N = (uniform_N / epsilon_N.clamp(min=SMALLEST) * num_actions).long().clamp(max=num_actions - 1)
    return torch.where(uniform_N < epsilon_N, random_N, best_actions(value_NA))
