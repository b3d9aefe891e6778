"""A2C's and PPO's steps against plain NumPy and torch's own optimisers; their determinism and resumption."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.flat import FlatParameters
from stepstream_trainer.algorithms.networks import ActorCritic, build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages, ObservationSpec, Vectors
from stepstream_trainer.algorithms.permutations import minibatches
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.returns import gae, vtrace
from stepstream_trainer.algorithms.rmsprop import RMSProp
from stepstream_trainer.config import A2CParameters, PPOParameters
from stepstream_trainer.learner.optimiser import RolloutUpdate, build_update
from tests.support.rollout_batches import NUM_ACTIONS, random_batch

FLOAT32 = Precision(device=torch.device("cpu"), dtype=torch.float32)
BFLOAT16 = Precision(device=torch.device("cpu"), dtype=torch.bfloat16)
IMAGES = BlockImages(rows=21, columns=21, frames=4)
PPO = PPOParameters(minibatch_size=8, epochs=2)

Build = Callable[[ActorCritic], RolloutUpdate]


def a2c(network: ActorCritic) -> RolloutUpdate:
    return build_update(A2CParameters(), network, FLOAT32, seed=3)


def ppo(network: ActorCritic) -> RolloutUpdate:
    return build_update(PPO, network, FLOAT32, seed=3)


def build(spec: ObservationSpec = Vectors(size=5), precision: Precision = FLOAT32) -> ActorCritic:  # noqa: B008
    return build_actor_critic(spec, NUM_ACTIONS, seed=7, precision=precision)


def expected_actor_critic_loss(network: nn.Module, batch: RolloutBatch, parameters: A2CParameters) -> torch.Tensor:
    """Mnih et al. 2016, algorithm S3, with the entropy bonus; mean over samples."""
    advantage = gae(batch, discount=parameters.discount, gae_lambda=parameters.gae_lambda)
    logits, value = network(batch.observation_N)
    policy = torch.distributions.Categorical(logits=logits)
    policy_loss = -(policy.log_prob(batch.action_TB.flatten()) * advantage.flatten()).mean()
    value_loss = (((advantage + batch.value_TB).flatten() - value) ** 2).mean()
    entropy = policy.entropy().mean()
    return policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy


def test_a2c_steps_as_the_papers_formulas_say() -> None:
    network, batch, parameters = build(), random_batch(), A2CParameters()
    loss = expected_actor_critic_loss(network, batch, parameters)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    norm = np.sqrt(sum(float((g**2).sum()) for g in gradients))
    before = [parameter.detach().clone() for parameter in network.parameters()]

    figures = build_update(parameters, network, FLOAT32, seed=0).update(batch, progress=0.0, update_number=0)

    assert figures["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    for old, gradient, new in zip(before, gradients, network.parameters(), strict=True):
        clipped = gradient.numpy() * min(1.0, parameters.max_grad_norm / norm)
        mean_square = (1 - parameters.rms_rho) * clipped**2
        step = parameters.learning_rate * clipped / np.sqrt(mean_square + parameters.rms_epsilon)
        np.testing.assert_allclose(new.detach(), old.numpy() - step, rtol=1e-4, atol=2e-6)


def expected_corrected_loss(network: nn.Module, batch: RolloutBatch, parameters: A2CParameters) -> torch.Tensor:
    """Espeholt et al. 2018, section 4.2: V-trace by what the network holds now, of what another policy did."""
    logits, value = network(batch.observation_N)
    policy = torch.distributions.Categorical(logits=logits)
    log_prob = policy.log_prob(batch.action_TB.flatten())
    shape = batch.action_TB.shape
    target, advantage = vtrace(
        replace(batch, value_TB=value.detach().view(shape)),
        log_prob.detach().view(shape) - batch.log_prob_TB,
        discount=parameters.discount,
        trace_decay=parameters.gae_lambda,
    )
    policy_loss = -(log_prob * advantage.flatten()).mean()
    value_loss = ((target.flatten() - value) ** 2).mean()
    entropy = policy.entropy().mean()
    return policy_loss + parameters.value_coefficient * value_loss - parameters.entropy_coefficient * entropy


@pytest.mark.parametrize("gae_lambda", [1.0, 0.8])
def test_a2c_weighs_what_another_policy_did_by_vtrace(gae_lambda: float) -> None:
    network, parameters = build(), A2CParameters(gae_lambda=gae_lambda)
    batch = replace(random_batch(), on_policy=False)
    loss = expected_corrected_loss(network, batch, parameters)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    norm = np.sqrt(sum(float((g**2).sum()) for g in gradients))

    figures = build_update(parameters, network, FLOAT32, seed=0).update(batch, progress=0.0, update_number=0)

    assert figures["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    for gradient, parameter in zip(gradients, network.parameters(), strict=True):
        assert parameter.grad is not None
        clipped = gradient.numpy() * min(1.0, parameters.max_grad_norm / norm)
        np.testing.assert_allclose(parameter.grad, clipped, rtol=1e-4, atol=1e-6)


def test_where_the_policy_that_acted_is_the_one_that_learns_the_correction_changes_nothing() -> None:
    plain, corrected, batch = build(), build(), random_batch()
    with torch.no_grad():
        logits, value = plain(batch.observation_N)
    log_prob = torch.distributions.Categorical(logits=logits).log_prob(batch.action_TB.flatten())
    shape = batch.action_TB.shape
    batch = replace(batch, log_prob_TB=log_prob.view(shape), value_TB=value.view(shape))

    a2c(plain).update(batch, progress=0.0, update_number=0)
    a2c(corrected).update(replace(batch, on_policy=False), progress=0.0, update_number=0)

    torch.testing.assert_close(corrected.flat.gradients, plain.flat.gradients, rtol=1e-4, atol=1e-6)


def test_rmsprop_follows_its_formula_over_many_steps() -> None:
    random = np.random.default_rng(0)
    linear = nn.Linear(30, 7)
    flat = FlatParameters(linear, torch.device("cpu"))
    rule = RMSProp(flat, rho=0.95, epsilon=1e-3)
    values = flat.values.numpy().astype(np.float64).copy()
    mean_square = np.zeros_like(values)
    for _ in range(20):
        gradient = random.normal(size=values.shape) * 0.1
        flat.gradients.copy_(torch.tensor(gradient))
        rule.step(1e-2)
        mean_square = 0.95 * mean_square + 0.05 * gradient**2
        values -= 1e-2 * gradient / np.sqrt(mean_square + 1e-3)

    np.testing.assert_allclose(flat.values, values, rtol=1e-5, atol=1e-5)


def reference_ppo(network: nn.Module, batch: RolloutBatch, parameters: PPOParameters, *, seed: int) -> None:
    """Schulman et al. 2017, written with torch's distributions, clipping and unfused Adam."""
    optimiser = torch.optim.Adam(
        network.parameters(), lr=parameters.learning_rate, eps=parameters.adam_epsilon, foreach=False
    )
    advantage = gae(batch, discount=parameters.discount, gae_lambda=parameters.gae_lambda).flatten()
    target = advantage + batch.value_TB.flatten()
    order = minibatches(
        seed=seed,
        update_number=0,
        epochs=parameters.epochs,
        num_samples=batch.num_samples,
        minibatch_size=parameters.minibatch_size,
    )
    for index in chain.from_iterable(order):
        logits, value = network(batch.observation_N[index])
        policy = torch.distributions.Categorical(logits=logits)
        log_prob = policy.log_prob(batch.action_TB.flatten()[index])
        ratio = (log_prob - batch.log_prob_TB.flatten()[index]).exp()
        chosen = advantage[index]
        chosen = (chosen - chosen.mean()) / (chosen.std(correction=0) + 1e-8)
        clipped = ratio.clamp(1 - parameters.clip_range, 1 + parameters.clip_range)
        loss = -torch.minimum(ratio * chosen, clipped * chosen).mean()
        loss = loss + parameters.value_coefficient * ((target[index] - value) ** 2).mean()
        loss = loss - parameters.entropy_coefficient * policy.entropy().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), parameters.max_grad_norm)
        optimiser.step()


def test_ppo_steps_as_a_plain_implementation_does() -> None:
    network, batch = build(), random_batch()
    reference = build()
    reference_ppo(reference, batch, PPO, seed=3)

    ppo(network).update(batch, progress=0.0, update_number=0)

    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, dict(reference.named_parameters())[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [a2c, ppo])
def test_two_runs_give_the_same_bits(make: Build) -> None:
    outcomes = []
    for _ in range(2):
        network = build(IMAGES, BFLOAT16)
        update = make(network)
        for number in range(3):
            update.update(random_batch(shape=(21, 21, 64), seed=number), progress=0.0, update_number=number)
        outcomes.append(network.flat.values)

    assert torch.equal(*outcomes)


@pytest.mark.parametrize("make", [a2c, ppo])
def test_an_update_resumed_from_its_state_continues_bit_for_bit(make: Build) -> None:
    network = build()
    update = make(network)
    update.update(random_batch(seed=0), progress=0.0, update_number=0)
    parameters, state = deepcopy(network.state_dict()), deepcopy(update.state_dict())
    update.update(random_batch(seed=1), progress=0.5, update_number=1)

    resumed = build()
    resumed_update = make(resumed)
    resumed.load_state_dict(parameters)
    resumed_update.load_state_dict(state)
    resumed_update.update(random_batch(seed=1), progress=0.5, update_number=1)

    assert torch.equal(network.flat.values, resumed.flat.values)


@pytest.mark.parametrize("make", [a2c, ppo])
def test_the_learning_rate_in_use_is_reported(make: Build) -> None:
    figures = make(build()).update(random_batch(), progress=0.0, update_number=0)

    assert figures["learning_rate"] == {a2c: 7e-4, ppo: 2.5e-4}[make]
    assert all(np.isfinite(list(figures.values())))


def test_annealing_to_the_end_leaves_the_parameters_alone() -> None:
    network = build()
    before = network.flat.values.clone()

    build_update(replace(PPO, anneal=True), network, FLOAT32, seed=0).update(
        random_batch(), progress=1.0, update_number=0
    )

    assert torch.equal(network.flat.values, before)


@pytest.mark.parametrize(("target_kl", "factor"), [(1e-9, 1 / 1.5**2), (1e9, 1.5**2), (0.0, 1.0)])
def test_the_learning_rate_follows_the_policys_change_once_an_epoch(target_kl: float, factor: float) -> None:
    update = build_update(replace(PPO, target_kl=target_kl, epochs=2), build(), FLOAT32, seed=0)

    figures = update.update(random_batch(), progress=0.0, update_number=0)

    assert figures["learning_rate"] == pytest.approx(PPO.learning_rate * factor)


def test_annealing_narrows_the_clip_range() -> None:
    fractions = []
    for progress in (0.0, 0.9):
        update = build_update(replace(PPO, anneal=True, clip_range=0.8), build(), FLOAT32, seed=0)
        fractions.append(update.update(random_batch(), progress=progress, update_number=0)["clip_fraction"])

    assert fractions[0] < fractions[1]


def test_minibatches_larger_than_the_rollout_learn_from_all_of_it_once_an_epoch() -> None:
    whole, larger = build(), build()
    batch = random_batch()
    for network, size in ((whole, batch.num_samples), (larger, 10_000)):
        build_update(replace(PPO, minibatch_size=size), network, FLOAT32, seed=0).update(
            batch, progress=0.0, update_number=0
        )

    assert torch.equal(whole.flat.values, larger.flat.values)


LEARN_ONCE = """
import sys
from tests.unit.test_updates import build, ppo, random_batch
ppo(build()).update(random_batch(), progress=0.0, update_number=0)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_learning_never_loads_torchs_compiler() -> None:
    """It would cost every learner's first update some three seconds."""
    loaded = subprocess.run([sys.executable, "-c", LEARN_ONCE], check=True, capture_output=True, text=True).stdout
    assert loaded == "[]\n"
