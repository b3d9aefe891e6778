"""A network's parameters and gradients, each in one contiguous buffer.

One buffer means one call for the optimiser's step, for the gradient's norm, for a cast to bfloat16, and later for an
all-reduce. Parameters stay what they were for everyone else: their own names and shapes, as views of the buffer.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

ALIGNMENT = 16
"""Parameters start at multiples of this many elements: 64 bytes of float32, one cache line and one AVX-512 register."""


class Flat(Protocol):
    """What an optimiser changes, and by what: all of a network's parameters, or a part of them; float32 [P] both."""

    @property
    def values(self) -> torch.Tensor: ...

    @property
    def gradients(self) -> torch.Tensor: ...

    def changed(self) -> None:
        """The values were changed past torch's version counter."""


class FlatParameters:
    """Replaces `network`'s parameters by views of `values`, each with a `grad` that is a view of `gradients`.

    Convolution weights lie channels last, so that [out, rows x columns x in] is a view of them. The views share the
    buffer's version counter: `version` rises with every change in place that torch counts, and with `changed` for the
    others.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        size = sum(_aligned(parameter.numel()) for parameter in network.parameters())
        self.values = torch.zeros(size, device=device)
        self.gradients = torch.zeros(size, device=device)
        self._offsets: dict[nn.Parameter, int] = {}
        offset = 0
        for module in network.modules():
            for name, initial in list(module.named_parameters(recurse=False)):
                setattr(module, name, self._adopt(initial, offset))
                offset += _aligned(initial.numel())

    @property
    def version(self) -> int:
        return self.values._version

    def changed(self) -> None:
        """Count a change that torch itself did not: fused optimisers write past the version counter."""
        torch.autograd.graph.increment_version(self.values)

    def part(self, buffer: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
        """What belongs to `parameter` in `buffer`, which is as long as `values` and of any dtype; in its shape."""
        return _view(buffer, self._offsets[parameter], parameter.shape)

    def _adopt(self, initial: nn.Parameter, offset: int) -> nn.Parameter:
        parameter = nn.Parameter(_view(self.values, offset, initial.shape))
        with torch.no_grad():
            parameter.copy_(initial)
        parameter.grad = _view(self.gradients, offset, initial.shape)
        self._offsets[parameter] = offset
        return parameter


def _view(buffer: torch.Tensor, offset: int, shape: torch.Size) -> torch.Tensor:
    part = buffer[offset : offset + shape.numel()]
    if len(shape) != 4:
        return part.view(shape)
    out, channels, rows, columns = shape
    return part.view(out, rows, columns, channels).permute(0, 3, 1, 2)


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
