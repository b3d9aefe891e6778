"""Frame stacks, rebuilt on the learner from the newest frames that simulators send.

Only the newest frame travels. The stack of slot b at time t is the stack at t-1 without its oldest frame, and the
newest frame; at an episode's first observation the older frames are zero (as in Mnih et al. 2015 and the paper's code).

Where a frame's sides divide by four, a stack is kept as space-to-depth blocks, because an 8x8 convolution of stride 4
on [H, W] is a 2x2 convolution of stride 1 on [H/4, W/4] with each 4x4 block of pixels as channels. The channel order
is: oldest frame first; within a frame the block's rows, its columns, its colours.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

BLOCK = 4
"""Side of a space-to-depth block, in pixels: the stride of the Nature network's first layer."""


class FrameStack(Protocol):
    """How newest observations [n, *shape] become what the network reads, [n, *stacked_shape]."""

    stacked_shape: tuple[int, ...]

    def advance(self, previous: Array, newest: Array, out: Array) -> None:
        """Write to `out` the stacks that follow `previous` when `newest` arrives."""

    def start(self, newest: Array, out: Array) -> None:
        """Write to `out` the stacks of episodes whose first observations are `newest`."""


class NoStack:
    """Observations the network reads as they are."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.stacked_shape = shape

    def advance(self, previous: Array, newest: Array, out: Array) -> None:
        out[...] = newest

    def start(self, newest: Array, out: Array) -> None:
        out[...] = newest


class BlockStack:
    """uint8 frames [H, W] or [H, W, C] as space-to-depth stacks [H/4, W/4, depth * 16 C]."""

    def __init__(self, shape: tuple[int, ...], depth: int) -> None:
        self.stacked_shape: tuple[int, ...]
        height, width, *colours = shape
        self._blocks = (height // BLOCK, width // BLOCK)
        self._words = colours[0] if colours else 1  # a block's row is this many 32-bit words
        self._frame_bytes = BLOCK * BLOCK * self._words
        self.stacked_shape = (*self._blocks, depth * self._frame_bytes)

    def advance(self, previous: Array, newest: Array, out: Array) -> None:
        # Shifting the whole buffer by one frame's bytes moves every older frame into place in a single copy; what it
        # leaves in the newest frame's place is overwritten at once.
        out.reshape(-1)[: -self._frame_bytes] = previous.reshape(-1)[self._frame_bytes :]
        self._put_newest(newest, out)

    def start(self, newest: Array, out: Array) -> None:
        out[...] = 0
        self._put_newest(newest, out)

    def _put_newest(self, newest: Array, out: Array) -> None:
        rows, columns = self._blocks
        pixels = newest.reshape(len(newest), rows, BLOCK, -1)
        words = pixels.view(np.uint32).reshape(len(newest), rows, BLOCK, columns, self._words)
        target = out.view(np.uint32)[..., -BLOCK * self._words :]
        target.reshape(len(newest), rows, columns, BLOCK, self._words)[...] = words.transpose(0, 1, 3, 2, 4)


class ChannelStack:
    """uint8 frames [H, W] or [H, W, C] whose sides do not divide by four, as stacks [H, W, depth * C]."""

    def __init__(self, shape: tuple[int, ...], depth: int) -> None:
        self.stacked_shape: tuple[int, ...]
        height, width, *colours = shape
        self._colours = colours[0] if colours else 1
        self.stacked_shape = (height, width, depth * self._colours)

    def advance(self, previous: Array, newest: Array, out: Array) -> None:
        out[..., : -self._colours] = previous[..., self._colours :]
        self._put_newest(newest, out)

    def start(self, newest: Array, out: Array) -> None:
        out[...] = 0
        self._put_newest(newest, out)

    def _put_newest(self, newest: Array, out: Array) -> None:
        out[..., -self._colours :] = newest.reshape(*newest.shape[:3], self._colours)
