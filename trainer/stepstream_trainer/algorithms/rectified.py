"""Convolution and linear layer followed by a rectified linear unit, with their gradients, in one number format.

Images are [N, C, H, W] and lie channels last. Everything here is a function of its arguments; `nature.py` says why the
network does not leave this to autograd.
"""

from __future__ import annotations

from typing import cast

import torch
from torch.nn import functional

from .space_to_depth import to_blocks

ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
ONEDNN_BFLOAT16: bool = ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Processors without AVX-512 have oneDNN's convolutions in float32 alone."""

Gradients = tuple[torch.Tensor, torch.Tensor]
"""Of a layer's weight and bias."""


class Convolution:
    """Without padding. `weight` [out, in, rows, columns] lies channels last."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, stride: int) -> None:
        self.weight = weight
        self.bias = bias
        self.stride = stride
        self._blocks = self._as_blocks()

    def refresh(self) -> None:
        """To be called when the weight was changed."""
        self._blocks.copy_(self._as_blocks())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.device.type == "cpu" and (ONEDNN_BFLOAT16 if images.dtype is torch.bfloat16 else ONEDNN):
            return self._forward_onednn(images)
        return functional.conv2d(images, self.weight, self.bias, self.stride).relu_()

    def parameter_gradients(self, gradient: torch.Tensor, images: torch.Tensor) -> Gradients:
        """From the gradient before the rectifier."""
        _, weight, bias = self._backward(gradient, images, self.weight, self.stride, mask=[False, True, True])
        return weight, bias

    def input_gradient(self, gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """From the gradient before the rectifier to that before the rectifier whose output `images` is."""
        if self.stride == 1:
            return through_rectifier(self._input_gradient(gradient, images, self.weight, 1), images)
        if images.shape[2] % self.stride or images.shape[3] % self.stride:
            return through_rectifier(self._input_gradient(gradient, images, self.weight, self.stride), images)
        return self._input_gradient_by_blocks(gradient, images)

    def _forward_onednn(self, images: torch.Tensor) -> torch.Tensor:
        """oneDNN rectifies while it stores: one pass over the output less."""
        stride, padding, dilation = [self.stride, self.stride], [0, 0], [1, 1]
        convolution = torch.ops.mkldnn._convolution_pointwise
        return cast(
            "torch.Tensor",
            convolution(images, self.weight, self.bias, padding, stride, dilation, 1, "relu", [], ""),
        )

    def _input_gradient_by_blocks(self, gradient: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """As a convolution of stride 1 on blocks, half as dear; moving blocks back to pixels costs no extra pass."""
        count, channels, rows, columns = images.shape
        stride = self.stride
        like = _channels_last(images).reshape(count, rows // stride, columns // stride, -1).permute(0, 3, 1, 2)
        by_block = _channels_last(self._input_gradient(gradient, like, self._blocks, 1))
        by_row = by_block.view(count, rows // stride, columns // stride, stride, stride * channels).transpose(2, 3)
        pixels = _channels_last(images).view(by_row.shape)
        result = torch.empty_like(pixels)
        torch.ops.aten.threshold_backward.grad_input(by_row, pixels, 0, grad_input=result)
        return result.view(count, rows, columns, channels).permute(0, 3, 1, 2)

    def _as_blocks(self) -> torch.Tensor:
        return to_blocks(self.weight, stride=self.stride, colours=self.weight.shape[1])

    def _input_gradient(
        self, gradient: torch.Tensor, images: torch.Tensor, weight: torch.Tensor, stride: int
    ) -> torch.Tensor:
        return self._backward(gradient, images, weight, stride, mask=[True, False, False])[0]

    def _backward(
        self, gradient: torch.Tensor, images: torch.Tensor, weight: torch.Tensor, stride: int, *, mask: list[bool]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of images, weight and bias, those in `mask`."""
        sizes, strides, padding, dilation = [len(self.bias)], [stride, stride], [0, 0], [1, 1]
        backward = torch.ops.aten.convolution_backward
        result = backward(gradient, images, weight, sizes, strides, padding, dilation, False, [0, 0], 1, mask)
        return cast("tuple[torch.Tensor, torch.Tensor, torch.Tensor]", result)


class Linear:
    """`weight` is [out, in]."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight = weight
        self.bias = bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.linear(rows, self.weight, self.bias).relu_()

    def parameter_gradients(self, gradient: torch.Tensor, rows: torch.Tensor) -> Gradients:
        """From the gradient before the rectifier."""
        return gradient.t() @ rows, gradient.sum(0, dtype=torch.float32)

    def input_gradient(self, gradient: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """From the gradient before the rectifier to that before the rectifier whose output `rows` is."""
        return through_rectifier(gradient @ self.weight, rows)


def through_rectifier(gradient: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The gradient where `output` is positive, else 0."""
    return cast("torch.Tensor", torch.ops.aten.threshold_backward(gradient, output, 0))


def flattened(images: torch.Tensor) -> torch.Tensor:
    """[N, H * W * C], a view of images that lie channels last."""
    return _channels_last(images).flatten(1)


def unflattened(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The inverse of `flattened`, with the shape of `like`."""
    return rows.view(_channels_last(like).shape).permute(0, 3, 1, 2)


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 2, 3, 1)
