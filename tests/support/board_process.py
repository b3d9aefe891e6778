"""A learner's process as far as its board goes: meets the others, says so, and waits for them where they never come.

python -m tests.support.board_process RANK WORLD_SIZE ADDRESS LOST_SECONDS
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stepstream_trainer.learner.board import Board, BoardError

MET = "met"


def main(rank: int, world_size: int, address: str, lost_seconds: float) -> None:
    board = Board.open(rank, world_size, address, lambda: None, lost_seconds=lost_seconds)
    print(MET, flush=True)
    try:
        board.arrive("never", pause=lambda: None)
    except BoardError as error:
        print(error, flush=True)


@contextmanager
def board_process(
    rank: int, world_size: int, address: str, lost_seconds: float = 60.0
) -> Iterator[subprocess.Popen[str]]:
    arguments = (str(rank), str(world_size), address, str(lost_seconds))
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def next_line(process: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
