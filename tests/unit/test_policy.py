"""Acting is a function of observations, uniforms and parameters, and draws from the policy's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.algorithms.networks import build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages, Categories, Images, ObservationSpec, Vectors
from stepstream_trainer.algorithms.policy import Policy, sample
from stepstream_trainer.algorithms.precision import Precision

FLOAT32 = Precision(device=torch.device("cpu"), dtype=torch.float32)
BFLOAT16 = Precision(device=torch.device("cpu"), dtype=torch.bfloat16)

RANDOM = torch.Generator().manual_seed(0)

KINDS: list[tuple[ObservationSpec, torch.Tensor]] = [
    (
        BlockImages(rows=21, columns=21, frames=4),
        torch.randint(0, 256, (6, 21, 21, 64), dtype=torch.uint8, generator=RANDOM),
    ),
    (
        Images(height=50, width=42, channels=3),
        torch.randint(0, 256, (6, 50, 42, 3), dtype=torch.uint8, generator=RANDOM),
    ),
    (Vectors(size=6), torch.randn(6, 2, 3, dtype=torch.float64, generator=RANDOM)),
    (Vectors(size=2), torch.randint(-3, 3, (6, 2), generator=RANDOM)),
    (Categories(count=5), torch.randint(0, 5, (6,), generator=RANDOM)),
    (Categories(count=5), torch.randint(0, 5, (6, 1), generator=RANDOM)),
]


def policy(spec: ObservationSpec, precision: Precision = FLOAT32, seed: int = 1) -> Policy:
    return Policy(build_actor_critic(spec, 4, seed=seed, precision=precision), precision)


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize(("spec", "observation"), KINDS)
def test_every_kind_of_observation_is_answered(
    spec: ObservationSpec, observation: torch.Tensor, precision: Precision
) -> None:
    action, log_prob, value = policy(spec, precision).act(observation, torch.rand(6, generator=RANDOM))

    assert (action.dtype, log_prob.dtype, value.dtype) == (torch.int64, torch.float32, torch.float32)
    assert action.shape == log_prob.shape == value.shape == (6,)
    assert ((action >= 0) & (action < 4)).all()


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize(("spec", "observation"), KINDS)
def test_the_same_inputs_give_the_same_bits(
    spec: ObservationSpec, observation: torch.Tensor, precision: Precision
) -> None:
    uniform = torch.rand(6, generator=RANDOM)
    one, other = policy(spec, precision), policy(spec, precision)
    other.act(observation.flip(0), torch.rand(6, generator=RANDOM))  # what was acted on before leaves no trace
    torch.rand(3)  # nor does the global generator

    for a, b in zip(one.act(observation, uniform), other.act(observation, uniform), strict=True):
        assert torch.equal(a, b)


def test_values_for_bootstrapping_are_those_of_acting() -> None:
    spec, observation = KINDS[0]
    acting = policy(spec)

    assert torch.equal(acting.value(observation), acting.act(observation, torch.rand(6, generator=RANDOM))[2])


def test_log_probabilities_are_those_of_the_chosen_actions() -> None:
    network = build_actor_critic(Vectors(size=3), 4, seed=2, precision=FLOAT32)
    observation = torch.randn(9, 3, generator=RANDOM)

    action, log_prob, _ = Policy(network, FLOAT32).act(observation, torch.rand(9, generator=RANDOM))

    with torch.no_grad():
        expected = torch.log_softmax(network(observation)[0], -1)[torch.arange(9), action]
    torch.testing.assert_close(log_prob, expected)


def test_greedy_takes_the_likeliest_action() -> None:
    network = build_actor_critic(Vectors(size=3), 4, seed=2, precision=FLOAT32)
    observation = torch.randn(9, 3, generator=RANDOM)

    assert torch.equal(Policy(network, FLOAT32).greedy(observation), network(observation)[0].argmax(-1))


@given(actions=st.integers(1, 18), seed=st.integers(0, 2**31))
def test_evenly_spread_uniforms_draw_each_action_as_often_as_it_is_likely(actions: int, seed: int) -> None:
    log_prob = torch.log_softmax(torch.randn(actions, generator=torch.Generator().manual_seed(seed)), -1)
    uniform = (torch.arange(4000) + 0.5) / 4000

    drawn = sample(log_prob.expand(4000, actions), uniform)

    frequency = np.bincount(drawn.numpy(), minlength=actions) / 4000
    np.testing.assert_allclose(frequency, log_prob.exp(), atol=1 / 2000)


@pytest.mark.parametrize("uniform", [0.0, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_the_ends_of_the_unit_interval_draw_possible_actions(uniform: float) -> None:
    log_prob = torch.log_softmax(torch.tensor([[-200.0, 1.0, 1.0, -200.0], [0.0, 0.0, 0.0, 0.0]]), -1)

    first, second = sample(log_prob, torch.full((2,), uniform)).tolist()

    assert first in (1, 2, 3)
    assert second == (0 if uniform == 0 else 3)


def test_the_same_seed_gives_the_same_parameters_in_every_precision() -> None:
    spec = BlockImages(rows=21, columns=21, frames=4)
    one, other = (build_actor_critic(spec, 4, seed=5, precision=precision) for precision in (FLOAT32, BFLOAT16))

    for name, parameter in one.state_dict().items():
        assert torch.equal(parameter, other.state_dict()[name])


def test_a_fresh_policy_is_nearly_uniform() -> None:
    for spec, observation in KINDS:
        _, log_prob, _ = policy(spec).act(observation, torch.rand(6, generator=RANDOM))
        np.testing.assert_allclose(log_prob, np.log(1 / 4), atol=0.05)
