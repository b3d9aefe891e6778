"""The Nature network's image torso, with a backward pass of its own.

    observation  uint8 [N, R, C, 16*F]  4x4 blocks of pixels as channels
    conv1 32x8/4 as 2x2/1 on blocks -> conv2 64x4/2 -> conv3 64x3/1 -> fully connected 512; rectified linear units

Mnih et al. 2015, "Human-level control through deep reinforcement learning", Methods. Why it is not left to autograd and
autocast: weights are cast to the format of the arithmetic once per optimiser step, not once per call; pixels are read
as they are (0..255 are exact in bfloat16; 1/255 is folded into the first layer's weights); and gradients are written
where the optimiser reads them, in float32 (as Megatron-LM's `main_grad`): they replace what was there.
Everything lies channels last, so features are flattened in the order (row, column, channel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from .flat import FlatParameters
from .observations import BlockImages
from .space_to_depth import BLOCK, from_blocks, to_blocks

PIXEL_SCALE = 1 / 255
FEATURES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class _Weights:
    """The parameters in the format of the arithmetic."""

    dtype: torch.dtype
    convolutions: tuple[_Convolution, ...]
    linear: torch.Tensor
    linear_bias: torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class _Convolution:
    weight: torch.Tensor
    """[out, in, rows, columns], channels last"""
    bias: torch.Tensor
    stride: int

    def forward(self, input_NCHW: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(input_NCHW, self.weight, self.bias, self.stride).relu_()

    def backward(
        self, gradient: torch.Tensor, output: torch.Tensor, input_NCHW: torch.Tensor, *, first: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of the input (undefined where `first`), weight and bias, from that of the rectified output."""
        return cast(
            "tuple[torch.Tensor, torch.Tensor, torch.Tensor]",
            torch.ops.aten.convolution_backward(
                _through_relu(gradient, output),
                input_NCHW,
                self.weight,
                [self.bias.numel()],
                [self.stride, self.stride],
                [0, 0],
                [1, 1],
                False,
                [0, 0],
                1,
                [not first, True, True],
            ),
        )


class NatureTorso(nn.Module):
    """Parameters have the usual shapes (conv1: [32, frames * colours, 8, 8]) and are float32."""

    def __init__(self, spec: BlockImages, dtype: torch.dtype) -> None:
        super().__init__()
        self._colours = spec.colours
        self._dtype = dtype
        self._flat: FlatParameters | None = None
        self._weights: _Weights | None = None
        self._weights_version = -1
        self.conv1 = nn.Conv2d(spec.frames * spec.colours, 32, 8, stride=4)
        self.conv2 = nn.Conv2d(32, 64, 4, stride=2)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.linear = nn.Linear(64 * _final_side(spec.rows) * _final_side(spec.columns), FEATURES)

    def bind(self, flat: FlatParameters) -> None:
        """Tell where parameters and gradients lie. Once, before the first call."""
        self._flat = flat

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, 512]."""
        if not torch.is_grad_enabled():
            return _activations(self.weights(), observation)[-1].float()
        return cast("torch.Tensor", _TorsoFunction.apply(observation, self.linear.bias, self)).float()

    def weights(self) -> _Weights:
        """The parameters as they are now, in the format of the arithmetic. Derived again only when they changed."""
        assert self._flat is not None, "bind() comes first"
        if self._weights is None or self._weights_version != self._flat.version:
            with torch.no_grad():
                self._weights = self._derive_weights(self._flat)
            self._weights_version = self._flat.version
        return self._weights

    def _derive_weights(self, flat: FlatParameters) -> _Weights:
        values = flat.values.to(self._dtype)
        blocks = to_blocks(self.conv1.weight * PIXEL_SCALE, self._colours).to(self._dtype)
        return _Weights(
            dtype=self._dtype,
            convolutions=(
                _Convolution(weight=blocks, bias=flat.part(values, self.conv1.bias), stride=1),
                _Convolution(
                    weight=flat.part(values, self.conv2.weight), bias=flat.part(values, self.conv2.bias), stride=2
                ),
                _Convolution(
                    weight=flat.part(values, self.conv3.weight), bias=flat.part(values, self.conv3.bias), stride=1
                ),
            ),
            linear=flat.part(values, self.linear.weight),
            linear_bias=flat.part(values, self.linear.bias),
        )

    def write_gradients(self, activations: tuple[torch.Tensor, ...], gradient: torch.Tensor) -> None:
        """From the gradient of the features [N, 512]."""
        weights = self.weights()
        images, *hidden, features = activations
        gradient = _through_relu(gradient, features)
        flattened = _flattened(hidden[-1])
        _store(self.linear.weight, gradient.t() @ flattened)
        _store(self.linear.bias, gradient.sum(0, dtype=torch.float32))
        gradient = (gradient @ weights.linear).view_as(_rows_last(hidden[-1])).permute(0, 3, 1, 2)
        inputs, layers = [images, *hidden[:-1]], [self.conv1, self.conv2, self.conv3]
        for index in (2, 1, 0):
            gradient, weight, bias = weights.convolutions[index].backward(
                gradient, hidden[index], inputs[index], first=index == 0
            )
            if index == 0:
                weight = from_blocks(weight.float() * PIXEL_SCALE, self._colours)
            _store(layers[index].weight, weight)
            _store(layers[index].bias, bias)


class _TorsoFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, observation: torch.Tensor, anchor: torch.Tensor, torso: NatureTorso) -> torch.Tensor:
        """`anchor` is any parameter: it makes autograd ask for the gradients, which `torso` keeps to itself."""
        activations = _activations(torso.weights(), observation)
        ctx.torso = torso
        ctx.save_for_backward(*activations)
        return activations[-1]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None]:  # type: ignore[override]
        ctx.torso.write_gradients(ctx.saved_tensors, gradient)
        return None, None, None


def _activations(weights: _Weights, observation: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Images, the three convolutions' outputs [N, C, H, W] channels last, features [N, 512]."""
    images = observation.to(weights.dtype).permute(0, 3, 1, 2)
    hidden = [images]
    for convolution in weights.convolutions:
        hidden.append(convolution.forward(hidden[-1]))
    features = functional.linear(_flattened(hidden[-1]), weights.linear, weights.linear_bias).relu_()
    return *hidden, features


def _rows_last(tensor_NCHW: torch.Tensor) -> torch.Tensor:
    return tensor_NCHW.permute(0, 2, 3, 1)


def _flattened(tensor_NCHW: torch.Tensor) -> torch.Tensor:
    return _rows_last(tensor_NCHW).flatten(1)


def _through_relu(gradient: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    return cast("torch.Tensor", torch.ops.aten.threshold_backward(gradient, output, 0))


def _store(parameter: nn.Parameter, gradient: torch.Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.copy_(gradient)


def _final_side(blocks: int) -> int:
    """Outputs along a side of `blocks` 4-pixel blocks after the three convolutions."""
    after_first = blocks + 1 - 8 // BLOCK
    return (after_first - 4) // 2 + 1 - 2
