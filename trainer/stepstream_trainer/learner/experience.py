"""What the loop drives: gathering steps and learning from them, whatever an algorithm keeps of them in between.

    RolloutExperience (A2C, PPO)       T steps of every slot, learned from at once and forgotten
    ReplayExperience (the Q family)    a few steps of every slot, kept in replay; updates from samples of it

An iteration is `collect`, then `learn`. Collecting changes nothing that a checkpoint holds, so that it can be broken
off at any time; learning is never broken off. What is collected waits in memory of its own (`Gathered`), so that
another thread may collect the next iteration's steps while these are learned from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from stepstream_trainer.algorithms.descent import DivergedError
from stepstream_trainer.learner.gathering import Pause

State = dict[str, Any]

Memory = TypeVar("Memory")


@dataclass(slots=True)
class Position:
    """How far the job is, between two iterations."""

    steps: int = 0
    updates: int = 0
    slot_steps: int = 0
    """Steps of each single slot: what the sampling of actions counts by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered(Generic[Memory]):
    """One iteration's steps, complete. They stay as they are until the memory is collected into again."""

    memory: Memory
    progress: State
    """Where slots and episodes stood after them: copies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """One update."""

    rows: int
    """Samples it was made from."""
    figures: Mapping[str, float]
    """Losses by name and, as `learning_rate`, the step size."""
    policy_lag: float | None
    """Updates between the policy that acted and this one, on average; None where samples come from a replay."""

    def __post_init__(self) -> None:
        """Raises DivergedError: what follows from such an update must not be saved."""
        for name, value in self.figures.items():
            if not math.isfinite(value):
                raise DivergedError(name, value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What lies beside a checkpoint because it is too large to be written anew each time."""

    state: State
    """Goes into the checkpoint."""
    files: Mapping[str, str]
    """SHA-256 by name, in the checkpoints' directory, which last as long as a checkpoint that names them."""


NOTHING_KEPT = Kept(state={}, files={})


class Experience(Protocol[Memory]):
    """`begin` and `collect` are for one thread at a time, the others for the loop's."""

    @property
    def slot_steps(self) -> int:
        """Steps of each slot in one iteration."""

    @property
    def memories(self) -> int:
        """Iterations that can be in memory at once: those being collected, waiting, and being learned from."""

    def begin(self, pause: Pause) -> None:
        """Wait for the first rows of all slots: where a fresh job begins. May raise what `pause` does."""

    def collect(self, position: Position, pause: Pause) -> Gathered[Memory]:
        """Let every slot make its steps, by the newest policy. May raise what `pause` does."""

    def learn(self, gathered: Gathered[Memory], position: Position, progress: float) -> Iterator[Learned]:
        """Make the updates that are due, one each time the next is asked for.

        `position` stands behind the steps gathered and before the updates; `progress` is the fraction [0, 1] of the
        budget that is spent.
        """

    def act_apart(self, apart: bool) -> None:
        """Whether acting goes on in another thread while this one learns. While nobody collects."""

    def publish(self, version: int) -> None:
        """Act by the parameters as they are now, behind which there are `version` updates."""

    def progress(self, gathered: Gathered[Memory]) -> State:
        """Where slots, and what is counted by them, stand after `gathered` was learned from: copies."""

    def learned_state(self) -> State:
        """The `optimiser`'s, as it stands."""

    def load_state_dict(self, state: State) -> None:
        """`state` is the whole checkpoint's, with NumPy arrays under `progress`. Without that, `begin` follows."""

    def keep(self) -> Kept:
        """Write beside the checkpoints what does not fit into one. Raises OSError when the disk refuses."""
