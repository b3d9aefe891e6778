"""The image network: space-to-depth is exact, the backward pass is autograd's, new parameters are seen at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from stepstream_trainer.algorithms.networks import ActorCritic, build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.space_to_depth import from_blocks, to_blocks
from stepstream_trainer.learner.frames import BlockStack

FLOAT32 = Precision(device=torch.device("cpu"), dtype=torch.float32)
BFLOAT16 = Precision(device=torch.device("cpu"), dtype=torch.bfloat16)

SHAPES = [(84, 84, 4, 1), (84, 84, 2, 3), (44, 88, 1, 1), (40, 48, 3, 2)]
"""Height, width, frames, colours; 88 pixels leave an odd side before the second convolution."""


def random_pixels(count: int, height: int, width: int, channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8, generator=generator)


def blocks_of(pixels: torch.Tensor, frames: int, colours: int) -> torch.Tensor:
    """[N, H, W, frames * colours] as the learner's frame stack keeps them."""
    count, height, width, _ = pixels.shape
    stack = BlockStack((height, width, colours), frames)
    previous = np.zeros((count, *stack.stacked_shape), np.uint8)
    for newest in np.split(pixels.numpy(), frames, axis=-1):
        out = np.empty_like(previous)
        stack.advance(previous, np.ascontiguousarray(newest), out)
        previous = out
    return torch.from_numpy(previous)


def build(height: int, width: int, frames: int, colours: int, precision: Precision = FLOAT32) -> ActorCritic:
    spec = BlockImages(rows=height // 4, columns=width // 4, frames=frames, colours=colours)
    return build_actor_critic(spec, 6, seed=0, precision=precision)


def plain_forward(network: ActorCritic, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The network as Mnih et al. 2015 describe it, on whole pixels, by torch's own layers."""
    parameters = dict(network.named_parameters())

    def layer(name: str) -> tuple[nn.Parameter, nn.Parameter]:
        return parameters[f"{name}.weight"], parameters[f"{name}.bias"]

    hidden = pixels.permute(0, 3, 1, 2).float() / 255
    for name, stride in (("conv1", 4), ("conv2", 2), ("conv3", 1)):
        hidden = functional.conv2d(hidden, *layer(f"torso.features.{name}"), stride=stride).relu()
    hidden = functional.linear(hidden.permute(0, 2, 3, 1).flatten(1), *layer("torso.features.linear")).relu()
    return functional.linear(hidden, *layer("policy")), functional.linear(hidden, *layer("value")).squeeze(-1)


@pytest.mark.parametrize(("height", "width", "frames", "colours"), SHAPES)
def test_space_to_depth_equals_the_plain_convolution(height: int, width: int, frames: int, colours: int) -> None:
    network, pixels = build(height, width, frames, colours), random_pixels(3, height, width, frames * colours)

    logits, value = network(blocks_of(pixels, frames, colours))

    expected_logits, expected_value = plain_forward(network, pixels)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(value, expected_value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "frames", "colours"), SHAPES)
def test_the_backward_pass_gives_autograds_gradients(height: int, width: int, frames: int, colours: int) -> None:
    network, pixels = build(height, width, frames, colours), random_pixels(3, height, width, frames * colours)

    gradients = []
    for logits, value in (network(blocks_of(pixels, frames, colours)), plain_forward(network, pixels)):
        network.flat.gradients.zero_()
        (logits.square().sum() + value.sum()).backward()
        gradients.append(network.flat.gradients.clone())

    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_bfloat16_stays_within_its_rounding_of_float32() -> None:
    exact, rounded = build(84, 84, 4, 1), build(84, 84, 4, 1, BFLOAT16)
    blocks = blocks_of(random_pixels(8, 84, 84, 4), 4, 1)
    gradients = []
    for network in (exact, rounded):
        _, value = network(blocks)
        value.sum().backward()
        gradients.append(network.flat.gradients)

    cosine = functional.cosine_similarity(*gradients, dim=0)
    assert cosine > 0.999


def test_kernels_survive_the_way_to_blocks_and_back() -> None:
    kernels = torch.randn(5, 6, 8, 8)

    torch.testing.assert_close(from_blocks(to_blocks(kernels, stride=4, colours=3), stride=4, colours=3), kernels)


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16])
def test_loaded_parameters_are_used_at_once(precision: Precision) -> None:
    first, second = build(84, 84, 4, 1, precision), build(84, 84, 4, 1, precision)
    blocks, uniform = blocks_of(random_pixels(2, 84, 84, 4), 4, 1), torch.rand(2)
    policy = Policy(first, precision)
    policy.act(blocks, uniform)
    changed = {name: tensor * 2 for name, tensor in second.state_dict().items()}

    first.load_state_dict(changed)
    second.load_state_dict(changed)

    assert torch.equal(policy.value(blocks), Policy(second, precision).value(blocks))


def test_a_checkpoint_keeps_the_first_layers_usual_shape() -> None:
    state = build(84, 84, 4, 1).state_dict()

    assert state["torso.features.conv1.weight"].shape == (32, 4, 8, 8)
