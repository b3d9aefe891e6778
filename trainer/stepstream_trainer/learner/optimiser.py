"""Which update rule a policy-gradient job's algorithm means."""

from __future__ import annotations

from typing import Any, Protocol

from stepstream_trainer.algorithms.a2c import A2CUpdate
from stepstream_trainer.algorithms.adam import Adam
from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.descent import Optimiser, SharedStore, descent
from stepstream_trainer.algorithms.flat import Flat
from stepstream_trainer.algorithms.networks import ActorCritic
from stepstream_trainer.algorithms.ppo import PPOUpdate
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.rmsprop import RMSProp
from stepstream_trainer.algorithms.together import Together
from stepstream_trainer.config import A2CParameters, PolicyGradientParameters, PPOParameters


class RolloutUpdate(Protocol):
    """Learns from one rollout and forgets it."""

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        """One update; `progress` is the fraction [0, 1] of the step budget behind it. Gives losses by name."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def build_update(
    parameters: PolicyGradientParameters,
    network: ActorCritic,
    precision: Precision,
    *,
    seed: int,
    together: Together | None = None,
    store: SharedStore | None = None,
) -> RolloutUpdate:
    """Of one learner, of one among those that step together, or of one among those that share a store."""
    way = descent(
        network.flat,
        lambda flat: _optimiser_of(parameters, flat),
        max_grad_norm=parameters.max_grad_norm,
        together=together,
        store=store,
    )
    match parameters:
        case A2CParameters():
            return A2CUpdate(network, parameters, precision, way, together)
        case PPOParameters():
            return PPOUpdate(network, parameters, precision, way, together, seed=seed)


def _optimiser_of(parameters: PolicyGradientParameters, flat: Flat) -> Optimiser:
    match parameters:
        case A2CParameters():
            return RMSProp(flat, rho=parameters.rms_rho, epsilon=parameters.rms_epsilon)
        case PPOParameters():
            return Adam(flat, epsilon=parameters.adam_epsilon)
