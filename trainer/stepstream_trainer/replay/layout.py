"""How large a replay is, and whether that can be: decided before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stepstream_trainer.algorithms.observations import BlockImages, Images, ObservationSpec
from stepstream_trainer.learner.frames import BlockStack, ChannelStack, FrameStack, NoStack
from stepstream_trainer.replay.sum_tree import SumTree

CAPACITY_FIELD = "spec.algorithm.parameters.replayCapacitySteps"

ROW_BYTES = 10
"""Of a row besides its frame: action and reward (4 each), flags, older frames (1 each)."""


class ReplayTooLargeError(Exception):
    """The replay does not fit into memory; the text says what it needs, what there is, and what would fit."""


class ReplayTooSmallError(Exception):
    """The capacity leaves the slots too few rows for a single complete step; the text says what would do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorityOptions:
    """Proportional prioritisation (Schaul et al. 2016): a step is drawn in proportion to priority ** exponent."""

    exponent: float
    """Alpha."""
    floor: float = 1e-6
    """Smallest priority, so that every step can be drawn: the paper's epsilon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayOptions:
    """What is kept and what is made of it. `priority=None` samples uniformly."""

    capacity_steps: int
    num_slots: int
    n_step: int
    discount: float
    seed: int
    priority: PriorityOptions | None = None

    @property
    def rows_per_slot(self) -> int:
        """L."""
        return self.capacity_steps // self.num_slots


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameLayout:
    """One newest observation as simulators send it, and what the network reads of the newest ones."""

    frame_shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    network_input: ObservationSpec

    @property
    def depth(self) -> int:
        """Frames in a stack."""
        match self.network_input:
            case BlockImages(frames=frames):
                return frames
            case Images(channels=channels):
                return channels // (self.frame_shape[2] if len(self.frame_shape) == 3 else 1)
            case _:
                return 1

    def single(self) -> FrameStack:
        """How one frame is kept: a stack of one. Deeper stacks are such frames side by side in the last axis."""
        match self.network_input:
            case BlockImages():
                return BlockStack(self.frame_shape, 1)
            case Images():
                return ChannelStack(self.frame_shape, 1)
            case _:
                return NoStack(self.frame_shape)

    @property
    def frame_bytes(self) -> int:
        return math.prod(self.frame_shape) * self.dtype.itemsize


def replay_bytes(options: ReplayOptions, layout: FrameLayout) -> int:
    """What the replay takes when it is full."""
    rows = options.rows_per_slot * options.num_slots
    tree = SumTree.bytes_for(rows) if options.priority else 0
    return rows * (layout.frame_bytes + ROW_BYTES) + tree


def smallest_rows_per_slot(options: ReplayOptions, layout: FrameLayout) -> int:
    """Rows of a slot with which a step has its whole stack and its whole return, while the next row is written."""
    return options.n_step + layout.depth + 1


def refuse_too_large(options: ReplayOptions, layout: FrameLayout, *, available_bytes: int) -> None:
    """Raises ReplayTooLargeError when the replay takes more than is available."""
    needed = replay_bytes(options, layout)
    if needed <= available_bytes:
        return
    fitting = _three_digits(options.capacity_steps * available_bytes // needed)
    raise ReplayTooLargeError(
        f"{CAPACITY_FIELD}: {options.capacity_steps:,} steps of {layout.frame_bytes:,} bytes take "
        f"{_gigabytes(needed)}, but {_gigabytes(available_bytes)} of memory is available; "
        f"{fitting:,} steps would fit"
    )


def refuse_too_small(options: ReplayOptions, layout: FrameLayout) -> None:
    """Raises ReplayTooSmallError when no step of a slot could ever be sampled."""
    smallest = smallest_rows_per_slot(options, layout) * options.num_slots
    if options.capacity_steps < smallest:
        raise ReplayTooSmallError(
            f"{CAPACITY_FIELD}: must be at least {smallest:,} for {options.num_slots:,} environments, frame stacks of "
            f"{layout.depth} and returns of {options.n_step} steps, got {options.capacity_steps:,}"
        )


def _three_digits(count: int) -> int:
    """Rounded down, so that what is rounded up in a replay's size has room."""
    unit: int = 10 ** max(0, len(str(count)) - 3)
    return count - count % unit


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB"
