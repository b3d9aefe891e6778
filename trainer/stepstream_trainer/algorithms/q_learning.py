"""Q-learning from replay: DQN (Mnih et al. 2015), C51 (Bellemare et al. 2017), Rainbow's parts (Hessel et al. 2018).

    sampled steps -> target network (and the online one, where double) -> targets
                  -> online network -> objective: one loss and one priority a sample -> gradients -> optimiser

All variants share this way. They differ in the objective (values or distributions) and in the optimiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from stepstream_trainer.config import CategoricalParameters, DQNParameters, QLearningParameters

from .adam import Adam
from .batch import Transitions
from .descent import Descent, Optimiser, SharedStore, descent
from .flat import Flat
from .graphs import Recorded
from .observations import ObservationSpec
from .precision import Precision
from .q_losses import cross_entropy, entropy, huber
from .q_networks import QNetwork, build_q_network
from .q_policy import action_values
from .q_targets import best_actions, expected_values, projected, support, taken, value_targets
from .rmsprop import RMSProp
from .schedules import q_learning_rate
from .together import Together

FIGURES = ("q", "td_error", "value", "gradient_norm")
"""The loss, the mean size of the temporal difference, the mean value of what was done, the norm before clipping."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What an objective says of N samples, [N] each."""

    loss_N: torch.Tensor
    priority_N: torch.Tensor
    """Never negative: how much there is to learn from the sample."""
    td_error_N: torch.Tensor
    """Target less estimate of the value."""
    value_N: torch.Tensor


class Objective(Protocol):
    """What the online network's output is drawn to. A actions, K atoms."""

    @property
    def support_K(self) -> torch.Tensor | None:
        """Of distributions; None where the network gives values."""

    def judge(
        self, output: torch.Tensor, next_output: torch.Tensor, return_N: torch.Tensor, bootstrap_N: torch.Tensor
    ) -> Judged:
        """Both outputs [N, ...] are of one action each: the one done, and the one that the target is made of."""


class ValueObjective:
    """Huber loss on the temporal difference, whose size is the priority."""

    support_K = None

    def __init__(self, huber_delta: float) -> None:
        self._delta = huber_delta

    def judge(
        self, output: torch.Tensor, next_output: torch.Tensor, return_N: torch.Tensor, bootstrap_N: torch.Tensor
    ) -> Judged:
        error_N = value_targets(return_N, bootstrap_N, next_output) - output
        size_N = error_N.detach().abs()
        return Judged(
            loss_N=huber(error_N, self._delta), priority_N=size_N, td_error_N=error_N.detach(), value_N=output.detach()
        )


class DistributionObjective:
    """Cross-entropy with the projected distribution; the priority is what it holds beyond the target's own entropy."""

    def __init__(self, support_K: torch.Tensor) -> None:
        self.support_K = support_K

    def judge(
        self, output: torch.Tensor, next_output: torch.Tensor, return_N: torch.Tensor, bootstrap_N: torch.Tensor
    ) -> Judged:
        target_NK = projected(return_N, bootstrap_N, torch.softmax(next_output, dim=-1), self.support_K)
        loss_N = cross_entropy(output, target_NK)
        value_N = expected_values(torch.softmax(output.detach(), dim=-1), self.support_K)
        return Judged(
            loss_N=loss_N,
            priority_N=(loss_N.detach() - entropy(target_NK)).clamp(min=0),
            td_error_N=expected_values(target_NK, self.support_K) - value_N,
            value_N=value_N,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What one update leaves behind."""

    priority_N: torch.Tensor
    """float32 on the network's device; overwritten by the next update."""
    figures: dict[str, float]


class QUpdate:
    """Learns from samples of the replay, in place. The target network changes only when it is told to."""

    def __init__(
        self,
        network: QNetwork,
        target: QNetwork,
        parameters: QLearningParameters,
        objective: Objective,
        descent: Descent,
        precision: Precision,
    ) -> None:
        """`target` is a network like `network`; it begins as a copy of it."""
        self._network = network
        self._target = target
        self._double = parameters.double
        self._learning_rate = q_learning_rate(parameters)
        self._objective = objective
        self._descent = descent
        self._gradients = Recorded(self._write_gradients, precision.device)
        self.copy_to_target()

    def update(self, batch: Transitions) -> Update:
        """One step of the optimiser."""
        self._network.refresh()
        self._target.refresh()
        losses, priority_N = self._gradients(
            batch.observation_N,
            batch.action_N,
            batch.return_N,
            batch.next_observation_N,
            batch.bootstrap_N,
            batch.weight_N,
        )
        norm = self._descent.step(self._learning_rate)
        values = torch.cat([losses, norm.view(1)]).tolist()  # sync
        named = {**dict(zip(FIGURES, values, strict=True)), "learning_rate": self._learning_rate}
        return Update(priority_N=priority_N, figures=named)

    @torch.no_grad()
    def copy_to_target(self) -> None:
        self._target.flat.values.copy_(self._network.flat.values)

    def state_dict(self) -> dict[str, Any]:
        return {"optimiser": self._descent.state_dict(), "target": self._target.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._descent.load_state_dict(state["optimiser"])
        self._target.load_state_dict(state["target"])

    def _write_gradients(
        self,
        observation_N: torch.Tensor,
        action_N: torch.Tensor,
        return_N: torch.Tensor,
        next_observation_N: torch.Tensor,
        bootstrap_N: torch.Tensor,
        weight_N: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients to the network's flat buffer. Gives FIGURES but for the last, and the priorities."""
        next_output = self._next_output(next_observation_N)
        self._network.clear_gradients()
        output = taken(self._network(observation_N), action_N)
        judged = self._objective.judge(output, next_output, return_N, bootstrap_N)
        loss = (weight_N * judged.loss_N).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        sizes = (judged.td_error_N.abs().mean(), judged.value_N.mean())
        return torch.stack([loss.detach(), *sizes]), judged.priority_N

    @torch.no_grad()
    def _next_output(self, next_observation_N: torch.Tensor) -> torch.Tensor:
        """The target network's output for the best action: by its own judgement, or, if double, the online network's
        (van Hasselt et al. 2016, equation 4)."""
        target_output: torch.Tensor = self._target(next_observation_N)
        judging = self._network(next_observation_N) if self._double else target_output
        return taken(target_output, best_actions(action_values(judging, self._objective.support_K)))


def objective_of(parameters: QLearningParameters, device: torch.device) -> Objective:
    """Values for DQN, distributions for the others."""
    if isinstance(parameters, DQNParameters):
        return ValueObjective(parameters.huber_delta)
    return DistributionObjective(support(parameters.value_minimum, parameters.value_maximum, parameters.atoms, device))


def optimiser_of(parameters: QLearningParameters, flat: Flat) -> Optimiser:
    """RMSProp for DQN, Adam for the others, its epsilon divided by the batch (Stooke & Abbeel 2018)."""
    if isinstance(parameters, DQNParameters):
        return RMSProp(flat, rho=parameters.rms_rho, epsilon=parameters.rms_epsilon)
    return Adam(flat, epsilon=parameters.adam_epsilon / parameters.batch_size)


def descent_of(
    parameters: QLearningParameters,
    network: QNetwork,
    together: Together | None = None,
    store: SharedStore | None = None,
) -> Descent:
    return descent(
        network.flat,
        lambda flat: optimiser_of(parameters, flat),
        max_grad_norm=parameters.max_grad_norm,
        together=together,
        store=store,
    )


def network_of(
    parameters: QLearningParameters,
    observation: ObservationSpec,
    num_actions: int,
    *,
    seed: int,
    precision: Precision,
) -> QNetwork:
    """What the job trains."""
    return build_q_network(
        observation,
        num_actions,
        atoms=parameters.atoms if isinstance(parameters, CategoricalParameters) else 1,
        dueling=parameters.dueling,
        seed=seed,
        precision=precision,
    )
