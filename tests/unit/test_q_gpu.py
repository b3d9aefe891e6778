"""With a CUDA device: Q-learning's recorded graphs follow the parameters, and the numbers are the CPU's."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.q_learning import QUpdate, descent_of, network_of, objective_of
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.config import DQNParameters, EpsilonRainbowParameters, QLearningParameters
from tests.support.transitions import Steps, random_observations, random_steps

pytestmark = pytest.mark.gpu

IMAGES = BlockImages(rows=21, columns=21, frames=4)
NUM_ACTIONS = 6
PARAMETERS = [DQNParameters(double=True), EpsilonRainbowParameters()]


def moved(steps: Steps, device: torch.device) -> Steps:
    return Steps(**{field.name: getattr(steps, field.name).to(device) for field in fields(Steps)})


@pytest.mark.parametrize("parameters", PARAMETERS, ids=["DQN", "EpsilonRainbow"])
def test_updates_on_both_devices_agree_and_acting_follows_them(parameters: QLearningParameters) -> None:
    values, actions = [], []
    observation = random_observations(IMAGES, 8, torch.Generator().manual_seed(0))
    for device in (torch.device("cpu"), torch.device("cuda")):
        precision = Precision(device=device, dtype=torch.float32)
        network, target = (network_of(parameters, IMAGES, NUM_ACTIONS, seed=1, precision=precision) for _ in range(2))
        objective = objective_of(parameters, device)
        update = QUpdate(network, target, parameters, objective, descent_of(parameters, network), precision)
        policy = QPolicy(network, precision, support_K=objective.support_K)
        policy.act(observation, torch.zeros(8), torch.zeros(8))  # recorded before the parameters change
        for number in range(3):
            update.update(moved(random_steps(IMAGES, NUM_ACTIONS, seed=number), device))
            update.copy_to_target()
        values.append(network.flat.values.cpu())
        actions.append(policy.act(observation, torch.full((8,), 0.9), torch.full((8,), 0.01)))

    torch.testing.assert_close(*values, rtol=1e-2, atol=1e-3)
    assert torch.equal(*actions)
