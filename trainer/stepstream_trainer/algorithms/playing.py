"""How a trained agent plays: as well as it can, or exploring as it did in training. N rows."""

from __future__ import annotations

from typing import Protocol

import torch

from stepstream_trainer.config import Parameters, PolicyGradientParameters, QLearningParameters

from .networks import ActorCritic, FlatNetwork, build_actor_critic
from .observations import ObservationSpec
from .policy import Policy
from .precision import Precision
from .q_learning import network_of, objective_of
from .q_networks import QNetwork
from .q_policy import QPolicy


class Playing(Protocol):
    """Acts with `network` as it is at each call."""

    @property
    def network(self) -> FlatNetwork: ...

    def play(self, observation: torch.Tensor, uniform_N: torch.Tensor, *, greedy: bool) -> torch.Tensor:
        """Actions int64 [N], in host memory; `uniform_N` float32 in [0, 1) decides whatever is random."""

    def named(self, *, greedy: bool) -> str:
        """The manner of playing, in a word or two."""


class PlayingActorCritic:
    """Takes the likeliest actions, or samples them."""

    def __init__(self, network: ActorCritic, precision: Precision) -> None:
        self.network = network
        self._policy = Policy(network, precision)

    def play(self, observation: torch.Tensor, uniform_N: torch.Tensor, *, greedy: bool) -> torch.Tensor:
        return self._policy.greedy(observation) if greedy else self._policy.act(observation, uniform_N)[0]

    def named(self, *, greedy: bool) -> str:
        return "Greedy" if greedy else "Sampled"


class PlayingQ:
    """Takes the best actions but for a random one now and then: with `evaluationEpsilon`, or with `finalEpsilon`."""

    def __init__(self, network: QNetwork, parameters: QLearningParameters, precision: Precision) -> None:
        self.network = network
        self._parameters = parameters
        self._policy = QPolicy(network, precision, support_K=objective_of(parameters, precision.device).support_K)

    def play(self, observation: torch.Tensor, uniform_N: torch.Tensor, *, greedy: bool) -> torch.Tensor:
        return self._policy.act(observation, uniform_N, torch.full_like(uniform_N, self._epsilon(greedy)))

    def named(self, *, greedy: bool) -> str:
        return f"Epsilon {self._epsilon(greedy):g}"

    def _epsilon(self, greedy: bool) -> float:
        return self._parameters.evaluation_epsilon if greedy else self._parameters.final_epsilon


def build_playing(
    parameters: Parameters, observation: ObservationSpec, num_actions: int, *, seed: int, precision: Precision
) -> Playing:
    """Of the algorithm with these parameters."""
    if isinstance(parameters, PolicyGradientParameters):
        return PlayingActorCritic(
            build_actor_critic(observation, num_actions, seed=seed, precision=precision), precision
        )
    network = network_of(parameters, observation, num_actions, seed=seed, precision=precision)
    return PlayingQ(network, parameters, precision)
