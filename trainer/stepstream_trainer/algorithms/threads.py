"""How many of torch's threads a piece of work on the CPU uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
