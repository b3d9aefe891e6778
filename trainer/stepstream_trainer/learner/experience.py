"""What the loop drives: gathering steps and learning from them, whatever an algorithm keeps of them in between.

    RolloutExperience (A2C, PPO)       T steps of every slot, learned from at once and forgotten
    ReplayExperience (the Q family)    a few steps of every slot, kept in replay; updates from samples of it

An iteration is `collect`, then `learn`. Collecting changes nothing that a checkpoint holds, so that it can be broken
off at any time; learning is never broken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

State = dict[str, Any]


@dataclass(slots=True)
class Position:
    """How far the job is, between two iterations."""

    steps: int = 0
    updates: int = 0
    slot_steps: int = 0
    """Steps of each single slot: what the sampling of actions counts by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """One update."""

    rows: int
    """Samples it was made from."""
    figures: Mapping[str, float]
    """Losses by name and, as `learning_rate`, the step size."""
    policy_lag: float | None
    """Updates between the policy that acted and this one, on average; None where samples come from a replay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What lies beside a checkpoint because it is too large to be written anew each time."""

    state: State
    """Goes into the checkpoint."""
    files: Mapping[str, str]
    """SHA-256 by name, in the checkpoints' directory, which last as long as a checkpoint that names them."""


NOTHING_KEPT = Kept(state={}, files={})


class Experience(Protocol):
    """Loop thread only."""

    @property
    def slot_steps(self) -> int:
        """Steps of each slot in one iteration."""

    def begin(self) -> None:
        """Wait for the first rows of all slots: where a fresh job begins. May raise Interrupted."""

    def collect(self, position: Position) -> None:
        """Let every slot make its steps, by the policy at hand. May raise Interrupted."""

    def learn(self, position: Position, progress: float) -> Iterator[Learned]:
        """Make the updates that are due, one each time the next is asked for.

        `position` stands behind the steps just collected, and counts every update before the next is asked for;
        `progress` is the fraction [0, 1] of the budget that is spent.
        """

    def state_dict(self) -> State:
        """Of the moment between two iterations: `optimiser`, and arrays under `progress`."""

    def load_state_dict(self, state: State) -> None:
        """`state` is the whole checkpoint's, with NumPy arrays under `progress`."""

    def keep(self) -> Kept:
        """Write beside the checkpoints what does not fit into one. Raises OSError when the disk refuses."""
