"""A learner's process as far as its board goes: meets the others, says so, and waits for them where they never come.

python -m tests.support.board_process RANK WORLD_SIZE ADDRESS LOST_SECONDS
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager

from stepstream_trainer.learner.board import Board, BoardError
from tests.support.subprocesses import python_module

MET = "met"


def main(rank: int, world_size: int, address: str, lost_seconds: float) -> None:
    board = Board.open(rank, world_size, address, lambda: None, lost_seconds=lost_seconds)
    print(MET, flush=True)
    try:
        board.arrive("never", pause=lambda: None)
    except BoardError as error:
        print(error, flush=True)


def board_process(
    rank: int, world_size: int, address: str, lost_seconds: float = 60.0
) -> AbstractContextManager[subprocess.Popen[str]]:
    return python_module(__name__, rank, world_size, address, lost_seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
