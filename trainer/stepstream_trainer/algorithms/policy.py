"""Acting: one forward pass, then one action per row by inverse-CDF sampling from uniforms the caller gives.

N rows, A actions. The result is a function of observations, uniforms and parameters: no generator of its own.
"""

from __future__ import annotations

import torch

from .graphs import Recorded
from .networks import ActorCritic
from .precision import Precision
from .threads import limited_threads


class Policy:
    """The network as it is at each call. Any one thread at a time; results are in host memory unless said otherwise."""

    def __init__(self, network: ActorCritic, precision: Precision, *, most_threads: int | None = None) -> None:
        """`most_threads` are for acting; None: all."""
        self._network = network
        self._most_threads = most_threads
        self._device = precision.device
        self._act = Recorded(self._choose, precision.device)

    @torch.inference_mode()
    def act(
        self, observation: torch.Tensor, uniform_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions int64, their log-probabilities and the values float32, each [N]; `uniform_N` float32 in [0, 1)."""
        with limited_threads(self._most_threads):
            self._network.refresh()
            (chosen,) = self._act(observation, uniform_N)
            action_N, log_prob_N, value_N = chosen.cpu()  # sync
        return action_N.long(), log_prob_N, value_N

    @torch.inference_mode()
    def greedy(self, observation: torch.Tensor) -> torch.Tensor:
        """The likeliest action of each row, int64 [N]."""
        logits_NA: torch.Tensor = self._network(observation.to(self._device))[0]
        return logits_NA.argmax(-1).cpu()  # sync

    @torch.inference_mode()
    def value(self, observation: torch.Tensor) -> torch.Tensor:
        """The values of observations, float32 [N], on the network's device."""
        value_N: torch.Tensor = self._network(observation.to(self._device, non_blocking=True))[1]
        return value_N

    def _choose(self, observation: torch.Tensor, uniform_N: torch.Tensor) -> tuple[torch.Tensor]:
        """One float32 tensor [3, N], so that one copy takes all to the host: actions, log-probabilities, values."""
        logits_NA, value_N = self._network(observation)
        log_prob_NA = torch.log_softmax(logits_NA, dim=-1)
        action_N1 = sample(log_prob_NA, uniform_N).unsqueeze(-1)
        log_prob_N = log_prob_NA.gather(-1, action_N1).squeeze(-1)
        return (torch.stack([action_N1.squeeze(-1).float(), log_prob_N, value_N]),)


def sample(log_prob_NA: torch.Tensor, uniform_N: torch.Tensor) -> torch.Tensor:
    """The first action whose cumulative probability exceeds the uniform; the last one takes what rounding leaves."""
    cumulative_NA = log_prob_NA.exp().cumsum(-1)
    return (cumulative_NA[:, :-1] <= uniform_N.unsqueeze(-1)).sum(-1)
