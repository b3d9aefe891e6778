"""An 8x8 convolution of stride 4 is a 2x2 convolution of stride 1 on 4x4 blocks of pixels; nothing is approximated.

`weight[o, f*C + k, 4*a + r, 4*b + c]` of the 8x8 kernel (frame f, colour k of C; pixel r, c of block a, b) meets the
pixel that `observations.BlockImages` keeps in block (a, b) as channel `((f*4 + r)*4 + c)*C + k`.
"""

from __future__ import annotations

import torch

BLOCK = 4
"""Side of a block in pixels: the first layer's stride."""


def to_blocks(weight: torch.Tensor, colours: int) -> torch.Tensor:
    """Kernels [O, frames*C, 8, 8] as [O, 16*frames*C, 2, 2]. A copy, channels last."""
    out, channels, rows, columns = weight.shape
    split = weight.reshape(
        out, channels // colours, colours, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK
    )  # o f k a r b c
    blocks = split.permute(0, 3, 5, 1, 4, 6, 2)  # o a b f r c k
    return blocks.reshape(out, rows // BLOCK, columns // BLOCK, -1).permute(0, 3, 1, 2)


def from_blocks(weight: torch.Tensor, colours: int) -> torch.Tensor:
    """The inverse of `to_blocks`, for kernels and their gradients. A copy."""
    out, channels, rows, columns = weight.shape
    frames = channels // (BLOCK * BLOCK * colours)
    split = weight.permute(0, 2, 3, 1).reshape(out, rows, columns, frames, BLOCK, BLOCK, colours)  # o a b f r c k
    kernels = split.permute(0, 3, 6, 1, 4, 2, 5)  # o f k a r b c
    return kernels.reshape(out, frames * colours, rows * BLOCK, columns * BLOCK)
