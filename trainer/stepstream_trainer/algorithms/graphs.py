"""CUDA graphs: a fixed sequence of kernels is recorded once and launched as one.

On a GPU the network's kernels take less time than Python needs to launch them one by one. On other devices nothing is
recorded and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensors = tuple[torch.Tensor, ...]
WARM_UPS = 3
"""Calls before recording, in which libraries choose their algorithms and reserve memory (torch's own advice)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors

    def replay(self, inputs: Tensors) -> Tensors:
        for static, given in zip(self.inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs


class Recorded:
    """`function` of tensors, recorded for each set of shapes it meets.

    It is called several times before it is recorded, so it must not change what it depends on. Inputs may lie in host
    memory: `function` receives them on the device. The tensors returned on CUDA are overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Tensors], device: torch.device) -> None:
        self._function = function
        self._device = device
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        if self._device.type != "cuda":
            return self._function(*(tensor.to(self._device) for tensor in inputs))
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._recordings:
            self._recordings[shapes] = self._record(inputs)
        return self._recordings[shapes].replay(inputs)

    def _record(self, inputs: Tensors) -> _Recording:
        static = tuple(tensor.to(self._device, copy=True) for tensor in inputs)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._function(*static)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            outputs = self._function(*static)
        return _Recording(graph=graph, inputs=static, outputs=outputs)
