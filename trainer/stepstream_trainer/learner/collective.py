"""Averaging over the learners of a job, by torch.distributed: NCCL where the device is a GPU, else gloo."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore

from stepstream_trainer.learner.board import Board, RankLostError

TIMEOUT_SECONDS = 120.0
"""Of one collective. All have collected when the first one begins, so what is waited for is another's computing."""


class Collective:
    """The process group of a job's learners. Loop thread only."""

    def __init__(
        self, board: Board, device: torch.device, *, rank: int, size: int, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Waits for all. Raises RankLostError."""
        self.size = size
        backend = "nccl" if device.type == "cuda" else "gloo"
        _guarded(
            lambda: dist.init_process_group(
                backend,
                store=PrefixStore("collective", board.store),
                rank=rank,
                world_size=size,
                timeout=timedelta(seconds=timeout_seconds),
            )
        )

    def average(self, values: torch.Tensor) -> None:
        """In place: the mean over all learners, in an order of addition that is the same each time."""
        _guarded(lambda: dist.all_reduce(values))
        values.div_(self.size)

    def close(self) -> None:
        dist.destroy_process_group()


def _guarded(collective: Callable[[], object]) -> None:
    """Raises RankLostError when another learner is gone, or did not come in time."""
    try:
        collective()
    except RuntimeError as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RankLostError(f"a collective operation among the learners failed: {first_line}") from error
