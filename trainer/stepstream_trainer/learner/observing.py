"""What the network reads, given what one environment sends: shapes, dtypes and stacks that belong together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stepstream_trainer.algorithms.observations import BlockImages, Categories, Images, ObservationSpec, Vectors
from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.learner.frames import BLOCK, BlockStack, ChannelStack, FrameStack, NoStack

SMALLEST_IMAGE = 36
"""Pixels of a side below which nothing is left for the Nature network's third layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observing:
    """How newest observations become the network's input, of shape `stack.stacked_shape` and `dtype` a slot."""

    stack: FrameStack
    network_input: ObservationSpec
    dtype: np.dtype[np.generic]


def observing(
    environment: EnvironmentConfig, shape: tuple[int, ...], dtype: np.dtype[np.generic], num_categories: int
) -> Observing:
    """For newest observations [*shape] of `dtype`; `num_categories` is 0 where they are no categories."""
    depth = environment.atari.frame_stack if environment.is_atari else 1
    if num_categories:
        return Observing(stack=NoStack(shape), network_input=Categories(count=num_categories), dtype=dtype)
    if not _is_image(shape, dtype):
        return Observing(stack=NoStack(shape), network_input=Vectors(size=math.prod(shape)), dtype=dtype)
    height, width, colours = (*shape, 1)[:3]
    if height % BLOCK == 0 and width % BLOCK == 0:
        blocks = BlockImages(rows=height // BLOCK, columns=width // BLOCK, frames=depth, colours=colours)
        return Observing(stack=BlockStack(shape, depth), network_input=blocks, dtype=dtype)
    images = Images(height=height, width=width, channels=depth * colours)
    return Observing(stack=ChannelStack(shape, depth), network_input=images, dtype=dtype)


def _is_image(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bool:
    return len(shape) in (2, 3) and dtype == np.uint8 and min(shape[:2]) >= SMALLEST_IMAGE
