"""Frames, each kept once, and the stacks that are rebuilt from them.

A frame is kept as `FrameLayout.single()` makes it, which is how the network reads it; a stack is `depth` frames side
by side in their last axis. The row after the last is a frame of zeros that nobody writes: it stands for frames before
an episode's first. R rows, D depth, N samples of S stacks each.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.learner.frames import FrameStack
from stepstream_trainer.replay.layout import FrameLayout
from stepstream_trainer.rows import Array

Rows = NDArray[np.int64]

GATHER_SAMPLES = 16
"""Samples gathered at a time: 16 pairs of stacks of 84x84x4 are 0.9 MB, which the second-level cache holds between the
two copies, and a step's two stacks share most of their frames."""

WIDE = np.dtype(np.complex128)
"""The widest element NumPy copies at once: 16 bytes, a 4x4 block of a grey frame."""


class FrameStore(Protocol):
    """R frames and one of zeros."""

    def put(self, row_n: Rows, frame_n: Array) -> None:
        """Store frames [n, *frame_shape]; no row is named twice."""

    def stacks(self, row_SND: Rows) -> torch.Tensor:
        """The stacks [S, N, *stacked_shape] of these frames, oldest first, where samples are wanted.

        Valid until the next call.
        """

    def read(self, rows: slice) -> Array:
        """A copy [rows, *kept shape] in host memory."""

    def write(self, rows: slice, frames: Array) -> None:
        """What `read` gave."""


class HostFrames:
    """In host memory. Batches for an accelerator are gathered into pinned memory; the ring itself stays pageable,
    because the accelerator never reads it."""

    def __init__(self, layout: FrameLayout, rows: int, device: torch.device) -> None:
        self._single: FrameStack = layout.single()
        self._shape = self._single.stacked_shape
        self._depth = layout.depth
        self._device = device
        self.frames: Array = np.zeros((rows + 1, *self._shape), layout.dtype)
        """[R + 1, *kept shape]"""
        self._torch_dtype = torch.from_numpy(self.frames[:0]).dtype
        self._wide = _widened(self.frames)
        self._batches: dict[tuple[int, ...], torch.Tensor] = {}

    def put(self, row_n: Rows, frame_n: Array) -> None:
        kept: Array = np.empty((len(row_n), *self._shape), self.frames.dtype)
        self._single.start(frame_n, kept)
        self.frames[row_n] = kept

    def stacks(self, row_SND: Rows) -> torch.Tensor:
        batch = self._batch(row_SND.shape[:-1])
        self._gather(row_SND, batch.numpy())
        return batch.to(self._device, non_blocking=True)

    def read(self, rows: slice) -> Array:
        return self.frames[rows].copy()

    def write(self, rows: slice, frames: Array) -> None:
        self.frames[rows] = frames

    def _batch(self, samples: tuple[int, ...]) -> torch.Tensor:
        """Memory for a batch. Pinned memory may still be read by a copy; torch keeps it until that is over."""
        pin = self._device.type == "cuda"
        if samples in self._batches and not pin:
            return self._batches[samples]
        shape = (*samples, *stacked(self._shape, self._depth))
        self._batches[samples] = torch.empty(shape, dtype=self._torch_dtype, pin_memory=pin)
        return self._batches[samples]

    def _gather(self, row_SND: Rows, out: Array) -> None:
        if self._depth == 1:
            np.take(self.frames, row_SND[..., 0], axis=0, out=out, mode="clip")
            return
        wide = out.view(self._wide.dtype).reshape(*row_SND.shape[:2], -1, self._depth, self._wide.shape[2])
        for begin in range(0, row_SND.shape[1], GATHER_SAMPLES):
            some = slice(begin, begin + GATHER_SAMPLES)
            wide[:, some] = np.take(self._wide, row_SND[:, some], axis=0).transpose(0, 1, 3, 2, 4)


class DeviceFrames:
    """On the device that samples are wanted on: only indices and new frames cross over."""

    def __init__(self, layout: FrameLayout, rows: int, device: torch.device) -> None:
        self._single: FrameStack = layout.single()
        self._shape = self._single.stacked_shape
        self._depth = layout.depth
        self._device = device
        self._dtype = layout.dtype
        kept = torch.from_numpy(np.empty(0, layout.dtype)).dtype
        self._frames = torch.zeros((rows + 1, *self._shape), dtype=kept, device=device)

    def put(self, row_n: Rows, frame_n: Array) -> None:
        kept: Array = np.empty((len(row_n), *self._shape), self._dtype)
        self._single.start(frame_n, kept)
        self._frames[self._moved(row_n)] = torch.from_numpy(kept).to(self._device)

    def stacks(self, row_SND: Rows) -> torch.Tensor:
        gathered = self._frames.index_select(0, self._moved(row_SND.reshape(-1)))
        samples = row_SND.shape[:-1]
        if self._depth == 1:
            return gathered.reshape(*samples, *self._shape)
        frames = gathered.reshape(*samples, self._depth, -1, self._shape[-1])
        return frames.transpose(-3, -2).reshape(*samples, *stacked(self._shape, self._depth))

    def read(self, rows: slice) -> Array:
        copy: Array = self._frames[rows].to("cpu", copy=True).numpy()  # sync
        return copy

    def write(self, rows: slice, frames: Array) -> None:
        self._frames[rows] = torch.from_numpy(frames).to(self._device)

    def _moved(self, row_n: Rows) -> torch.Tensor:
        return torch.from_numpy(row_n).to(self._device)


def stacked(shape: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """The shape of a stack of frames that are kept as `shape`."""
    return shape if depth == 1 else (*shape[:-1], depth * shape[-1])


def _widened(frames: Array) -> Array:
    """[R, inner, words]: a view whose last axis is a frame's share of a stack's, in elements as wide as they divide."""
    if frames.ndim == 1:
        return frames.reshape(-1, 1, 1)
    share = frames.shape[-1] * frames.itemsize
    wide = frames.view(WIDE) if share % WIDE.itemsize == 0 else frames
    return wide.reshape(len(frames), -1, wide.shape[-1])
