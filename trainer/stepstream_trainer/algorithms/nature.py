"""The Nature network's image torso (Mnih et al. 2015, Methods), with a backward pass of its own.

    observation [N, R, C, 16 * F]   uint8: 4x4 blocks of pixels as channels
      -> 32 of 8x8/4, as 2x2/1 on blocks -> 64 of 4x4/2 -> 64 of 3x3/1 -> F = 512 fully connected, each rectified

Why it is not left to autograd and autocast, which take 1.5 times as long (benchmarks/bench_network.py):
- weights are cast to the format of the arithmetic once per optimiser step, not once per call;
- pixels are read as they are: 0..255 are exact in bfloat16, and 1/255 is folded into the first layer's weights;
- gradients are written in float32 to where the optimiser reads them (as Megatron-LM's `main_grad`). They replace what
  was there: one forward pass, one backward pass, one step.
Features are flattened in the order row, column, channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from .flat import FlatParameters
from .observations import BlockImages
from .rectified import Convolution, Gradients, Linear, flattened, through_rectifier, unflattened
from .space_to_depth import from_blocks, to_blocks

PIXEL_SCALE = 1 / 255
FEATURES = 512
BLOCK = 4
"""Stride of the first layer, side of a block in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layers:
    """The parameters in the format of the arithmetic."""

    conv1: Convolution
    """On blocks, 1/255 folded in."""
    conv2: Convolution
    conv3: Convolution
    linear: Linear
    dtype: torch.dtype
    convolution_gradient_scale: float
    """Of the gradient that enters the last convolution."""

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the backward pass needs: images, the three convolutions' outputs, features [N, F]."""
        images = observation.to(self.dtype).permute(0, 3, 1, 2)
        first = self.conv1.forward(images)
        second = self.conv2.forward(first)
        third = self.conv3.forward(second)
        return images, first, second, third, self.linear.forward(flattened(third))

    def backward(self, gradient: torch.Tensor, activations: tuple[torch.Tensor, ...]) -> list[Gradients]:
        """Gradients of each layer's weight and bias, first layer first, from that of the features."""
        images, first, second, third, features = activations
        at_linear = through_rectifier(gradient, features)
        linear = self.linear.parameter_gradients(at_linear, flattened(third))
        at_third = unflattened(self.linear.input_gradient(at_linear, flattened(third)), like=third)
        if self.convolution_gradient_scale != 1.0:
            at_third = at_third * self.convolution_gradient_scale
        conv3 = self.conv3.parameter_gradients(at_third, second)
        at_second = self.conv3.input_gradient(at_third, second)
        conv2 = self.conv2.parameter_gradients(at_second, first)
        at_first = self.conv2.input_gradient(at_second, first)
        conv1 = self.conv1.parameter_gradients(at_first, images)
        return [conv1, conv2, conv3, linear]


class NatureTorso(nn.Module):
    """Parameters are float32 and have the usual shapes (conv1: [32, frames * colours, 8, 8])."""

    def __init__(
        self,
        spec: BlockImages,
        dtype: torch.dtype,
        *,
        num_features: int = FEATURES,
        convolution_gradient_scale: float = 1.0,
    ) -> None:
        """Gradients are scaled where they enter the convolutions: for heads that read features of their own."""
        super().__init__()
        self._colours = spec.colours
        self._convolution_gradient_scale = convolution_gradient_scale
        self._dtype = dtype
        self._flat: FlatParameters
        self._cast: torch.Tensor
        self._layers: _Layers
        self._layers_version = -1
        self.conv1 = nn.Conv2d(spec.frames * spec.colours, 32, 8, stride=BLOCK)
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.linear = nn.Linear(64 * _outputs_along(spec.rows) * _outputs_along(spec.columns), num_features)

    def bind(self, flat: FlatParameters) -> None:
        """Say where parameters and gradients lie. Once, before the first call."""
        self._flat = flat
        self._cast = flat.values if self._dtype == flat.values.dtype else flat.values.to(self._dtype)
        with torch.no_grad():
            self._layers = self._build_layers()

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the layers up to date with the parameters, if those changed. In place: recorded graphs stay valid."""
        if self._layers_version == self._flat.version:
            return
        if self._cast is not self._flat.values:
            self._cast.copy_(self._flat.values)
        self._layers.conv1.weight.copy_(self._first_layer())
        self._layers.conv2.refresh()
        self._layers_version = self._flat.version

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, F]."""
        self.refresh()
        if not torch.is_grad_enabled():
            return self._layers.forward(observation)[-1].float()
        return cast("torch.Tensor", _TorsoFunction.apply(observation, self.linear.bias, self)).float()

    def activations(self, observation: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of each layer; the last are the features, in the format of the arithmetic."""
        return self._layers.forward(observation)

    def write_gradients(self, gradient: torch.Tensor, activations: tuple[torch.Tensor, ...]) -> None:
        """To the parameters' `grad`, from the gradient of the features."""
        (blocks, first_bias), *others = self._layers.backward(gradient, activations)
        kernels = from_blocks(blocks.float() * PIXEL_SCALE, stride=BLOCK, colours=self._colours)
        modules: list[nn.Conv2d | nn.Linear] = [self.conv1, self.conv2, self.conv3, self.linear]
        for module, (weight, bias) in zip(modules, [(kernels, first_bias), *others], strict=True):
            _write(module.weight, weight)
            _write(module.bias, bias)

    def _first_layer(self) -> torch.Tensor:
        return to_blocks(self.conv1.weight * PIXEL_SCALE, stride=BLOCK, colours=self._colours)

    def _build_layers(self) -> _Layers:
        def part(parameter: torch.Tensor | None) -> torch.Tensor:
            return self._flat.part(self._cast, cast("nn.Parameter", parameter))

        return _Layers(
            conv1=Convolution(self._first_layer().to(self._dtype), part(self.conv1.bias), stride=1),
            conv2=Convolution(part(self.conv2.weight), part(self.conv2.bias), stride=2),
            conv3=Convolution(part(self.conv3.weight), part(self.conv3.bias), stride=1),
            linear=Linear(part(self.linear.weight), part(self.linear.bias)),
            dtype=self._dtype,
            convolution_gradient_scale=self._convolution_gradient_scale,
        )


class _TorsoFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, observation: torch.Tensor, anchor: torch.Tensor, torso: NatureTorso) -> torch.Tensor:
        """`anchor` is any parameter: through it autograd asks for the gradients, which `torso` keeps to itself."""
        activations = torso.activations(observation)
        ctx.torso = torso
        ctx.save_for_backward(*activations)
        return activations[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:
        torso: NatureTorso = ctx.torso
        torso.write_gradients(gradients[0], ctx.saved_tensors)
        return None, None, None


def _write(parameter: torch.Tensor | None, gradient: torch.Tensor) -> None:
    assert parameter is not None
    assert parameter.grad is not None, "FlatParameters gives every parameter its gradient"
    parameter.grad.copy_(gradient)


def _outputs_along(blocks: int) -> int:
    """Outputs of the last convolution along a side of `blocks` blocks."""
    after_first = blocks - 1
    return (after_first - 4) // 2 + 1 - 2
