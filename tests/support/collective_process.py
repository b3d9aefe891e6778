"""A learner's process as far as averaging goes: meets the others, then averages again and again, as told.

python -m tests.support.collective_process RANK WORLD_SIZE ADDRESS TIMEOUT_SECONDS COUNT

COUNT averages are made, and the last one is printed; then "waiting", and another one is made for as long as there is
nobody else to make it with: "lost" and why.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from stepstream_trainer.learner.board import Board, RankLostError
from stepstream_trainer.learner.collective import Collective
from tests.support.subprocesses import python_module

WAITING = "waiting"


def main(rank: int, world_size: int, address: str, timeout_seconds: float, count: int) -> None:
    board = Board.open(rank, world_size, address, lambda: None)
    device = torch.device("cpu")
    collective = Collective(board, device, rank=rank, size=world_size, timeout_seconds=timeout_seconds)
    values = torch.zeros(3)
    for number in range(count):
        values = torch.tensor([rank, number, 1.0 / (rank + 1)])
        collective.average(values)
    print(*values.tolist(), flush=True)
    print(WAITING, flush=True)
    try:
        if rank == 0:
            collective.average(values)
        else:
            sys.stdin.read()
    except RankLostError as error:
        print(f"lost: {error}", flush=True)
    sys.stdout.flush()


@contextmanager
def collective_processes(
    world_size: int, address: str, *, timeout_seconds: float, count: int
) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as closing:
        yield [
            closing.enter_context(python_module(__name__, rank, world_size, address, timeout_seconds, count))
            for rank in range(world_size)
        ]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
