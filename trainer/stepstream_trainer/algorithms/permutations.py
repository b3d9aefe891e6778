"""Minibatches of an update, a function of the job's seed and the update's number: a resumed job draws the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


def minibatches(
    *, seed: int, update_number: int, epochs: int, num_samples: int, minibatch_size: int
) -> Iterator[tuple[torch.Tensor, ...]]:
    """The minibatches of each epoch, as int64 indices of samples.

    An epoch visits every sample once, in an order of its own; its last minibatch may be smaller.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, update_number], dtype=np.uint64)))
    for _ in range(epochs):
        yield torch.split(torch.from_numpy(generator.permutation(num_samples)), minibatch_size)
