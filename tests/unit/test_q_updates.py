"""Q-learning's steps against losses written with torch's own parts; networks, heads, targets and resumption."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from stepstream_trainer.algorithms.observations import BlockImages, Categories, Images, ObservationSpec, Vectors
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.q_learning import QUpdate, descent_of, network_of, objective_of
from stepstream_trainer.algorithms.q_networks import QNetwork, build_q_network
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.algorithms.q_targets import projected, support
from stepstream_trainer.config import (
    CategoricalDQNParameters,
    DQNParameters,
    EpsilonRainbowParameters,
    LearningRateScaling,
    QLearningParameters,
)
from tests.support.transitions import Steps, random_observations, random_steps

FLOAT32 = Precision(device=torch.device("cpu"), dtype=torch.float32)
VECTORS = Vectors(size=5)
IMAGES = BlockImages(rows=21, columns=21, frames=4)
ODD_IMAGES = Images(height=42, width=50, channels=3)
SPECS = [VECTORS, Categories(count=7), IMAGES, ODD_IMAGES]
NUM_ACTIONS = 4
VARIANTS: list[QLearningParameters] = [
    DQNParameters(),
    DQNParameters(double=True, dueling=True, huber_delta=0.5),
    CategoricalDQNParameters(batch_size=24),
    CategoricalDQNParameters(double=True, atoms=21, value_minimum=-3, value_maximum=5),
    EpsilonRainbowParameters(batch_size=24),
]


def build(parameters: QLearningParameters, spec: ObservationSpec = VECTORS) -> tuple[QNetwork, QNetwork, QUpdate]:
    """A network, a target network that has fallen behind it, and the rule that trains them."""
    network, target = (network_of(parameters, spec, NUM_ACTIONS, seed=7, precision=FLOAT32) for _ in range(2))
    objective = objective_of(parameters, FLOAT32.device)
    update = QUpdate(network, target, parameters, objective, descent_of(parameters, network), FLOAT32)
    with torch.no_grad():
        for one, seed in ((network, 1), (target, 2)):
            noise = torch.randn(one.flat.values.shape, generator=torch.Generator().manual_seed(seed))
            one.flat.values.add_(0.1 * noise)
    return network, target, update


def expected_losses(network: QNetwork, target: QNetwork, steps: Steps, parameters: QLearningParameters) -> torch.Tensor:
    """One a sample: Mnih et al. 2015 and Bellemare et al. 2017, double as van Hasselt et al. 2016."""
    rows = torch.arange(len(steps.action_N))
    with torch.no_grad():
        next_output = target(steps.next_observation_N)
        judging = network(steps.next_observation_N) if parameters.double else next_output
    output = network(steps.observation_N)[rows, steps.action_N]
    if isinstance(parameters, DQNParameters):
        wanted = steps.return_N + steps.bootstrap_N * next_output[rows, judging.argmax(-1)]
        return functional.huber_loss(output, wanted, reduction="none", delta=parameters.huber_delta)
    atoms = support(parameters.value_minimum, parameters.value_maximum, parameters.atoms, FLOAT32.device)
    best = (judging.softmax(-1) @ atoms).argmax(-1)
    wanted = projected(steps.return_N, steps.bootstrap_N, next_output[rows, best].softmax(-1), atoms)
    return functional.cross_entropy(output, wanted, reduction="none")


@pytest.mark.parametrize("parameters", VARIANTS, ids=lambda parameters: type(parameters).__name__)
def test_gradients_are_those_of_the_papers_losses(parameters: QLearningParameters) -> None:
    network, target, update = build(parameters)
    steps = random_steps(VECTORS, NUM_ACTIONS)
    loss = (steps.weight_N * expected_losses(network, target, steps, parameters)).mean()
    wanted = torch.autograd.grad(loss, list(network.parameters()))
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in wanted))
    scale = min(1.0, parameters.max_grad_norm / norm)

    figures = update.update(steps).figures

    assert figures["q"] == pytest.approx(loss.item(), rel=1e-5)
    assert figures["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    for parameter, gradient in zip(network.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient * scale, rtol=1e-4, atol=1e-5)


def test_priorities_are_temporal_differences_or_divergences() -> None:
    steps = random_steps(VECTORS, NUM_ACTIONS)
    for parameters in VARIANTS:
        network, target, update = build(parameters)
        losses = expected_losses(network, target, steps, parameters).detach()

        priority = update.update(steps).priority_N

        if isinstance(parameters, DQNParameters):
            small = priority <= parameters.huber_delta
            torch.testing.assert_close(priority[small], (2 * losses[small]).sqrt(), rtol=1e-3, atol=1e-4)
        else:  # the divergence: cross-entropy less a constant of the target, so never more than the loss
            assert bool((priority >= 0).all())
            assert bool((priority <= losses + 1e-5).all())


def test_gradients_are_clipped_to_a_global_norm() -> None:
    network, _, update = build(DQNParameters(max_grad_norm=0.01))

    figures = update.update(random_steps(VECTORS, NUM_ACTIONS)).figures

    assert figures["gradient_norm"] > 0.01
    assert float(network.flat.gradients.norm()) == pytest.approx(0.01, rel=1e-4)


def test_adams_epsilon_is_divided_by_the_batch() -> None:
    network, _, update = build(CategoricalDQNParameters(batch_size=512, adam_epsilon=0.01, learning_rate=1e-3))
    before = network.flat.values.clone()

    update.update(random_steps(VECTORS, NUM_ACTIONS))

    gradient = network.flat.gradients
    step = 1e-3 * gradient / (gradient.abs() + 0.01 / 512)  # Adam's first step
    torch.testing.assert_close(network.flat.values, before - step, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_follows_the_batch() -> None:
    scaled = DQNParameters(batch_size=512, learning_rate_scaling=LearningRateScaling.Sqrt)

    figures = build(scaled)[2].update(random_steps(VECTORS, NUM_ACTIONS)).figures

    assert figures["learning_rate"] == pytest.approx(2.5e-4 * 4)


def test_the_target_network_changes_only_when_it_is_told_to() -> None:
    network, target, update = build(DQNParameters())
    before = target.flat.values.clone()

    update.update(random_steps(VECTORS, NUM_ACTIONS))

    assert torch.equal(target.flat.values, before)
    update.copy_to_target()
    assert torch.equal(target.flat.values, network.flat.values)


def test_a_copied_image_target_uses_its_new_weights_at_once() -> None:
    network, target, update = build(DQNParameters(), IMAGES)
    observation = random_observations(IMAGES, 3, torch.Generator().manual_seed(0))
    target(observation)  # weights were derived before the copy
    update.copy_to_target()

    with torch.no_grad():
        assert torch.equal(target(observation), network(observation))


@pytest.mark.parametrize("parameters", [DQNParameters(), EpsilonRainbowParameters()], ids=["RMSProp", "Adam"])
def test_what_is_restored_goes_on_with_the_same_bits(parameters: QLearningParameters) -> None:
    network, _, update = build(parameters)
    update.update(random_steps(VECTORS, NUM_ACTIONS, seed=1))
    state, values = deepcopy(update.state_dict()), network.flat.values.clone()
    other, _, other_update = build(parameters)
    other.flat.values.data.copy_(values)
    other_update.load_state_dict(state)

    for rule in (update, other_update):
        rule.update(random_steps(VECTORS, NUM_ACTIONS, seed=2))

    assert torch.equal(other.flat.values, network.flat.values)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
@pytest.mark.parametrize("dueling", [False, True], ids=["plain", "dueling"])
@pytest.mark.parametrize("atoms", [1, 11])
def test_a_network_gives_an_output_for_every_action(spec: ObservationSpec, dueling: bool, atoms: int) -> None:
    network = build_q_network(spec, NUM_ACTIONS, atoms=atoms, dueling=dueling, seed=0, precision=FLOAT32)

    output = network(random_observations(spec, 3, torch.Generator().manual_seed(0)))

    assert output.shape == ((3, NUM_ACTIONS) if atoms == 1 else (3, NUM_ACTIONS, atoms))
    assert output.dtype == torch.float32


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_dueling_advantages_are_relative_to_their_mean(spec: ObservationSpec) -> None:
    network = build_q_network(spec, NUM_ACTIONS, atoms=5, dueling=True, seed=0, precision=FLOAT32)
    observation = random_observations(spec, 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, value_features = network.torso(observation)
        value = network.head.value(value_features)  # type: ignore[operator, union-attr]

        torch.testing.assert_close(network(observation).mean(1), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [IMAGES, ODD_IMAGES], ids=["blocks", "plain"])
def test_dueling_heads_send_less_gradient_into_the_convolutions_and_no_less_elsewhere(spec: ObservationSpec) -> None:
    network = build_q_network(spec, NUM_ACTIONS, atoms=1, dueling=True, seed=0, precision=FLOAT32)
    images = network.torso.images
    observation = random_observations(spec, 4, torch.Generator().manual_seed(0))

    def gradients() -> dict[str, torch.Tensor]:
        network.clear_gradients()
        network(observation).square().sum().backward()
        return {name: torch.clone(p.grad) for name, p in network.named_parameters() if p.grad is not None}

    scaled = gradients()
    if spec is IMAGES:
        images._layers = replace(images._layers, convolution_gradient_scale=1.0)
    else:
        images._convolution_gradient_scale = 1.0
    whole = gradients()

    for name, gradient in whole.items():
        factor = 1 / math.sqrt(2) if "conv" in name else 1.0
        torch.testing.assert_close(scaled[name], gradient * factor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parameters", [DQNParameters(), CategoricalDQNParameters()], ids=["values", "distributions"])
def test_the_policy_takes_the_best_action_by_the_newest_parameters(parameters: QLearningParameters) -> None:
    network, _, update = build(parameters, IMAGES)
    policy = QPolicy(network, FLOAT32, support_K=objective_of(parameters, FLOAT32.device).support_K)
    observation = random_observations(IMAGES, 6, torch.Generator().manual_seed(3))
    update.update(random_steps(IMAGES, NUM_ACTIONS, count=4))
    with torch.no_grad():
        output = network(observation)
        values = output if output.dim() == 2 else output.softmax(-1) @ support(-10, 10, 51, FLOAT32.device)

    action = policy.act(observation, torch.full((6,), 0.5), torch.zeros(6))

    np.testing.assert_array_equal(action, values.argmax(-1))
