"""Weights derived for the arithmetic's format follow every update: a stale copy would act and learn with old ones."""

import pytest
import torch

from stepstream_trainer import config
from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.networks import ActorCritic, build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import Precision, choose_precision
from stepstream_trainer.learner.optimiser import build_update

SPEC = BlockImages(rows=21, columns=21, frames=4)


def network(precision: Precision) -> ActorCritic:
    return build_actor_critic(SPEC, 6, seed=1, precision=precision)


def batch() -> RolloutBatch:
    random = torch.Generator().manual_seed(2)
    zeros, no = torch.zeros(4, 8), torch.zeros(4, 8, dtype=torch.bool)
    return RolloutBatch(
        observation_TB=torch.randint(0, 256, (4, 8, 21, 21, 64), dtype=torch.uint8, generator=random),
        action_TB=torch.randint(0, 6, (4, 8), generator=random),
        log_prob_TB=zeros - 1.8,
        value_TB=zeros,
        reward_TB=torch.randn(4, 8, generator=random),
        terminated_TB=no,
        truncated_TB=no,
        final_value_TB=zeros,
        next_value_B=torch.zeros(8),
        on_policy=True,
    )


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_the_policy_acts_with_the_parameters_of_the_newest_update(algorithm: str) -> None:
    precision = choose_precision(config.Precision.Auto)
    trained, observation = network(precision), batch().observation_N
    Policy(trained, precision).value(observation)  # weights were derived before the update
    if algorithm == "PPO":
        build_update(config.PPOParameters(epochs=2, minibatch_size=16), trained, precision, seed=3).update(
            batch(), progress=0.0, update_number=0
        )
    else:
        build_update(config.A2CParameters(), trained, precision, seed=3).update(batch(), progress=0.0, update_number=0)
    fresh = network(precision)
    fresh.load_state_dict(trained.state_dict())
    expected, acted = (Policy(one, precision).value(observation) for one in (fresh, trained))
    assert torch.equal(acted, expected)
