"""What simulators tell learners, as arrays: the same names and checks on both ends of a stream.

n is the number of lanes of a lease. The bits of a row's flags are those of RowFlag in stream.proto.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.channel import MAX_MESSAGE_BYTES

Array = NDArray[np.generic]

START: Final = 1
"""First observation of an episode that nothing led to; the reward means nothing."""
TERMINATED: Final = 2
TRUNCATED: Final = 4
LIFE_LOST: Final = 8
"""In an episode that goes on."""
VACANT: Final = 16
"""The lane serves no slot; its row means nothing."""
ENDED: Final = TERMINATED | TRUNCATED

DTYPES: Final = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
}
"""What observations may be made of, by the names that travel; little endian, as every machine we know of has them."""
MAX_RANK: Final = 4
MAX_OBSERVATION_BYTES: Final = MAX_MESSAGE_BYTES // 4

MAX_CHOICES: Final = 65_536
"""Actions, or categories of an observation: a network has a row of weights for each."""

RESTART: Final = -1
"""In an action's place: begin the lane's episode anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spaces:
    """One environment's newest observation and its actions, 0 to num_actions - 1."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    num_actions: int
    num_categories: int
    """Of an observation that is one of 0 to num_categories - 1; otherwise 0."""

    @property
    def observation_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def refused_observation(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str | None:
    """What is wrong with such observations; nothing if they can be sent."""
    size = math.prod(shape) * dtype.itemsize
    if DTYPES.get(dtype.name) == dtype and len(shape) <= MAX_RANK and 0 < size <= MAX_OBSERVATION_BYTES:
        return None
    return (
        f"observations of {dtype} {list(shape)}; they must be numbers, of rank 0 to {MAX_RANK}, "
        f"1 to {MAX_OBSERVATION_BYTES} bytes"
    )


def refused_choices(num_actions: int, num_categories: int) -> str | None:
    """What is wrong with so many actions, or categories of an observation; nothing if networks can have them."""
    if not 0 < num_actions <= MAX_CHOICES:
        return f"{num_actions:,} actions; there must be 1 to {MAX_CHOICES:,}"
    if num_categories > MAX_CHOICES:
        return f"observations of {num_categories:,} categories; there may be {MAX_CHOICES:,}"
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """One row for each of n lanes."""

    observation: Array
    """[n, *shape]: what to act on next; after an episode's end, the next episode's first."""
    reward: NDArray[np.float32]
    """[n], of the step that led here, as the environment gave it."""
    flags: NDArray[np.uint8]
    """[n]"""
    final_observation: Array
    """[k, *shape]: last observation of the k truncated lanes, in lane order."""

    @property
    def num_steps(self) -> int:
        """Rows that a step led to."""
        return len(self.flags) - int(np.count_nonzero(self.flags & (START | VACANT)))

    @property
    def num_live(self) -> int:
        """Lanes that serve a slot."""
        return len(self.flags) - int(np.count_nonzero(self.flags & VACANT))

    @property
    def num_ended(self) -> int:
        """Episodes that ended with these rows."""
        return int(np.count_nonzero(self.flags & ENDED))
