"""Measuring on a virtual machine whose host gives its processors to others now and then, and says how much.

A measurement made while much was taken is made again; of all attempts the one counts from which the least was taken.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

STAT: Final = Path("/proc/stat")
QUIET: Final = 0.03
"""Fraction of the machine's time: what is less changes no rate by more than the rounds differ."""
ATTEMPTS: Final = 4

_STEAL_COLUMN: Final = 8  # of the line `cpu`, proc(5)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt(Generic[T]):
    """What was measured, and the fraction of the machine's time that others had meanwhile."""

    found: T
    stolen: float


def stolen_seconds(stat: Path = STAT) -> float:
    """Summed over the processors, since boot; 0 where the system does not tell."""
    try:
        fields = stat.read_text().split("\n", 1)[0].split()
        return int(fields[_STEAL_COLUMN]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0


def quietest(
    measure: Callable[[], T],
    *,
    stolen: Callable[[], float] = stolen_seconds,
    clock: Callable[[], float] = time.monotonic,
    cores: int = os.cpu_count() or 1,
) -> Attempt[T]:
    """Measure until it is quiet, ATTEMPTS times at most. Raises whatever `measure` raises."""
    attempts: list[Attempt[T]] = []
    while len(attempts) < ATTEMPTS:
        stolen_before, began = stolen(), clock()
        found = measure()
        seconds = max(clock() - began, 1e-9)
        attempts.append(Attempt(found=found, stolen=(stolen() - stolen_before) / (seconds * cores)))
        if attempts[-1].stolen < QUIET:
            break
    return min(attempts, key=lambda attempt: attempt.stolen)
