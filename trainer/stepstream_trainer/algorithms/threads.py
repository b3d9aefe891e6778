"""How many of torch's threads a piece of work on the CPU uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .observations import BlockImages, Images, ObservationSpec


def learning_threads(observation: ObservationSpec, cores: int) -> int:
    """Of so many cores, those that a network for such observations is worth.

    A tower of 64 units takes microseconds a layer. Threads would take longer to meet, and where somebody else has one
    of the cores, all wait for that: Rainbow on CartPole made 310 steps/s on two threads beside a busy core, and 1,690
    on one.
    """
    return cores if isinstance(observation, BlockImages | Images) else 1


@contextmanager
def limited_threads(most: int | None) -> Iterator[None]:
    """No more than `most` threads within, as far as this thread's work goes; None: as many as there are."""
    before = torch.get_num_threads()
    if most is None or most >= before:
        yield
        return
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(before)
