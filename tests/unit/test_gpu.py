"""What must hold on a CUDA device: recorded graphs follow the parameters, and the numbers are the CPU's."""

from __future__ import annotations

import pytest
import torch

from stepstream_trainer.algorithms.networks import ActorCritic, build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.config import A2CParameters, PPOParameters
from stepstream_trainer.learner.optimiser import RolloutUpdate, build_update
from tests.support.rollout_batches import NUM_ACTIONS, moved, random_batch

pytestmark = pytest.mark.gpu

SHAPE = (21, 21, 64)
PPO = PPOParameters(minibatch_size=12, epochs=2)


def on(device: str, dtype: torch.dtype = torch.float32) -> Precision:
    return Precision(device=torch.device(device), dtype=dtype)


def build(precision: Precision) -> ActorCritic:
    return build_actor_critic(BlockImages(rows=21, columns=21, frames=4), NUM_ACTIONS, seed=1, precision=precision)


def make(algorithm: str, network: ActorCritic, precision: Precision) -> RolloutUpdate:
    if algorithm == "A2C":
        return build_update(A2CParameters(), network, precision, seed=3)
    return build_update(PPO, network, precision, seed=3)


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_updates_on_both_devices_agree(algorithm: str) -> None:
    values = []
    for precision in (on("cpu"), on("cuda")):
        network = build(precision)
        update = make(algorithm, network, precision)
        for number in range(3):
            batch = moved(random_batch(shape=SHAPE, seed=number), precision.device)
            update.update(batch, progress=0.0, update_number=number)
        values.append(network.flat.values.cpu())

    torch.testing.assert_close(*values, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recorded_acting_follows_the_parameters(dtype: torch.dtype) -> None:
    precision = on("cuda", dtype)
    network, observation = build(precision), random_batch(shape=SHAPE).observation_TB[0].pin_memory()
    policy, uniform = Policy(network, precision), torch.rand(4)
    before = policy.act(observation, uniform)
    make("PPO", network, precision).update(
        moved(random_batch(shape=SHAPE), precision.device), progress=0.0, update_number=0
    )

    after = policy.act(observation, uniform)

    assert not torch.equal(before[2], after[2])
    torch.testing.assert_close(after[2], policy.value(observation).cpu(), rtol=1e-2, atol=1e-2)


def test_bfloat16_on_the_device_is_close_to_float32_on_the_cpu() -> None:
    observation, uniform = random_batch(shape=SHAPE).observation_TB[0], torch.rand(4)
    answers = [
        Policy(build(precision), precision).act(observation, uniform)
        for precision in (on("cpu"), on("cuda", torch.bfloat16))
    ]

    torch.testing.assert_close(answers[1][2], answers[0][2], rtol=5e-2, atol=5e-2)
