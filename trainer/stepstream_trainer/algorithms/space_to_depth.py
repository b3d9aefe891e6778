"""A convolution whose kernel is some strides wide is one of stride 1 on blocks of pixels; nothing is approximated.

With stride s, each s x s block of pixels becomes channels: `weight[o, f*C + k, s*a + r, s*b + c]` (frame f, colour k of
C; pixel r, c of block a, b) meets the pixel kept in block (a, b) as channel `((f*s + r)*s + c)*C + k`. The Nature
network's first layer, 8x8 with stride 4, so becomes 2x2 with stride 1: few wide taps instead of many narrow ones, which
is what matrix units are good at.
"""

from __future__ import annotations

import torch


def to_blocks(weight: torch.Tensor, *, stride: int, colours: int) -> torch.Tensor:
    """Kernels [O, F*C, s*A, s*B] as [O, s*s*F*C, A, B]. A copy, channels last."""
    out, channels, rows, columns = weight.shape
    frames, rows, columns = channels // colours, rows // stride, columns // stride
    split = weight.reshape(out, frames, colours, rows, stride, columns, stride)  # o f k a r b c
    blocks = split.permute(0, 3, 5, 1, 4, 6, 2)  # o a b f r c k
    return blocks.reshape(out, rows, columns, -1).permute(0, 3, 1, 2)


def from_blocks(weight: torch.Tensor, *, stride: int, colours: int) -> torch.Tensor:
    """The inverse of `to_blocks`, for kernels and their gradients. A copy."""
    out, channels, rows, columns = weight.shape
    frames = channels // (stride * stride * colours)
    split = weight.permute(0, 2, 3, 1).reshape(out, rows, columns, frames, stride, stride, colours)  # o a b f r c k
    kernels = split.permute(0, 3, 6, 1, 4, 2, 5)  # o f k a r b c
    return kernels.reshape(out, frames * colours, rows * stride, columns * stride)
