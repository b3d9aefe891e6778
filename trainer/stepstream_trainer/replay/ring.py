"""The rows of a replay: what each slot saw and did, in rings, and which of its steps are complete.

Slot b's row k lies at position k mod L of its ring. A row is a frame; it becomes a step when the outcome of the action
that left it is known, and stays *open* when none ever is. So a slot's rows read like this (n = 2, depth = 3):

    row      ... 17   18   19   20       21    22      23   24
    frame        f    f    f    final    s     f       f    newest
    step         a,r  a,r  a,r  open     a,r   a,r     a,r  open
                           ^ cut         ^ START       ^ its return of two steps is not complete yet

A return goes on from row to row until it has n rewards, has taken a step that is TERMINAL, or stands on an open row,
whose frame it bootstraps from. A stack takes up to `older` frames before its own. What can be sampled of a slot are the
steps among rows [low, high): from `low` on all frames of a stack are still held, below `high` returns are complete.

n lanes of a call; B slots; L rows a slot; flat position = (k mod L) x B + b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.replay.frames import FrameStore
from stepstream_trainer.rows import Array

STEPPED = 1
"""The action that left this frame, and what it led to, are known."""
TERMINAL = 2
"""The return ends with this step."""
FIRST = 4
"""First frame of an episode."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """What the newest actions of n slots led to, as `Slots` holds it when a group is ready."""

    action_n: NDArray[np.signedinteger]
    reward_n: NDArray[np.float32]
    """What is learned from: clipped by whoever wants it clipped."""
    terminated_n: Mask
    """The return ends: with the game, or with a life where that counts."""
    truncated_n: Mask
    """The episode was cut: it bootstraps from `final_observation_n`, unless the return ended with the same step."""
    ended_n: Mask
    """`observation_n` is the first of a new episode."""
    observation_n: Array
    """[n, *frame_shape]"""
    final_observation_n: Array
    """[n, *frame_shape], read where truncated."""
    lost_n: Mask | None = None
    """Outcomes that nobody saw: `observation_n` begins a new episode; action, reward and flags mean nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Flat positions."""

    written: Ints
    removed: Ints
    """Steps that can no longer be sampled."""
    added: Ints
    """Steps that now can."""


class Ring:
    """L rows for each of B slots."""

    def __init__(self, *, rows_per_slot: int, num_slots: int, depth: int, n_step: int, frames: FrameStore) -> None:
        rows = rows_per_slot * num_slots
        self.rows_per_slot = rows_per_slot
        self.num_slots = num_slots
        self.depth = depth
        self.n_step = n_step
        self.frames = frames
        self.action = np.zeros(rows, np.int32)
        self.reward = np.zeros(rows, np.float32)
        self.flags = np.zeros(rows, np.uint8)
        self.older = np.zeros(rows, np.uint8)
        """Frames of the same episode that come before this one in its stack."""
        self.newest_B = np.full(num_slots, -1, np.int64)
        self.low_B = np.zeros(num_slots, np.int64)
        self.high_B = np.zeros(num_slots, np.int64)
        self.size = 0
        """Steps that can be sampled."""

    def positions(self, slot_n: Ints, row_n: Ints) -> Ints:
        """Flat; the two broadcast against each other."""
        positions: Ints = (row_n % self.rows_per_slot) * self.num_slots + slot_n
        return positions

    def rows_at(self, position_n: Ints) -> tuple[Ints, Ints]:
        """Slots and rows of flat positions that hold any."""
        slot_n = position_n % self.num_slots
        newest_n = self.newest_B[slot_n]
        return slot_n, newest_n - (newest_n - position_n // self.num_slots) % self.rows_per_slot

    def lengths_B(self) -> Ints:
        """Rows from `low` to `high`, open ones among them."""
        length_B: Ints = np.maximum(self.high_B - self.low_B, 0)
        return length_B

    def begin(self, slot_n: Ints, observation_n: Array, *, mid_episode: bool) -> Ints:
        """The first frames of slots that hold none yet. Gives the positions written."""
        assert (self.newest_B[slot_n] < 0).all()
        written = self._write_frames(slot_n, np.zeros(len(slot_n), np.int64), observation_n, FIRST)
        if mid_episode:
            # Frames that are not held were before this one: no row counts as complete until its own stack is.
            self.flags[written], self.older[written] = 0, self.depth - 1
        self.newest_B[slot_n] = 0
        return written

    def append(self, slot_n: Ints, outcomes: Outcomes) -> Changes:
        """Complete the newest row of each slot, and begin the next."""
        now_n = self.newest_B[slot_n]
        assert (now_n >= 0).all()
        lost_n = np.zeros(len(slot_n), np.bool_) if outcomes.lost_n is None else outcomes.lost_n
        terminated_n = outcomes.terminated_n & ~lost_n
        cut_n = outcomes.truncated_n & ~terminated_n & ~lost_n
        after_n = now_n + 1 + cut_n
        removed = self._give_up(slot_n, after_n)
        stepped = self._record(slot_n[~lost_n], now_n[~lost_n], outcomes, ~lost_n)
        final = self._write_frames(slot_n[cut_n], now_n[cut_n] + 1, outcomes.final_observation_n[cut_n], 0)
        first_n = np.where(outcomes.ended_n | lost_n, FIRST, 0)
        newest = self._write_frames(slot_n, after_n, outcomes.observation_n, first_n)
        self.newest_B[slot_n] = after_n
        closed_n = np.where(terminated_n | cut_n, now_n + 1, np.where(lost_n, now_n, 0))
        added = self._complete(slot_n, np.maximum(after_n - self.n_step + 1, closed_n))
        self.size += len(added) - len(removed)
        return Changes(written=np.concatenate([stepped, final, newest]), removed=removed, added=added)

    def _record(self, slot_n: Ints, row_n: Ints, outcomes: Outcomes, known_n: Mask) -> Ints:
        """The steps that left these rows. Gives the positions written."""
        position_n: Ints = self.positions(slot_n, row_n)
        self.action[position_n] = outcomes.action_n[known_n]
        self.reward[position_n] = outcomes.reward_n[known_n]
        terminal_n = np.where(outcomes.terminated_n[known_n], TERMINAL, 0)
        self.flags[position_n] |= (STEPPED | terminal_n).astype(np.uint8)
        return position_n

    def _write_frames(self, slot_n: Ints, row_n: Ints, frame_n: Array, first_n: Ints | int) -> Ints:
        """Open rows, each the one after its slot's last. Gives the positions written."""
        position_n = self.positions(slot_n, row_n)
        before_n = self.older[self.positions(slot_n, row_n - 1)].astype(np.int64)
        self.older[position_n] = np.where(first_n, 0, np.minimum(before_n + 1, self.depth - 1))
        self.flags[position_n] = first_n
        if len(position_n):
            self.frames.put(position_n, frame_n)
        return position_n

    def _give_up(self, slot_n: Ints, after_n: Ints) -> Ints:
        """Steps whose stacks lose a frame, or their own, when `after` is the newest row."""
        oldest_n = np.maximum(after_n - self.rows_per_slot + 1, 0)
        row_nD = oldest_n[:, np.newaxis] + np.arange(self.depth)
        older_nD = self.older[self.positions(slot_n[:, np.newaxis], row_nD)]
        whole_nD = row_nD - older_nD >= oldest_n[:, np.newaxis]
        low_n = np.maximum(self.low_B[slot_n], oldest_n + np.argmax(whole_nD, axis=1))
        removed = self._steps(slot_n, self.low_B[slot_n], np.minimum(low_n, self.high_B[slot_n]))
        self.low_B[slot_n] = low_n
        return removed

    def _complete(self, slot_n: Ints, high_n: Ints) -> Ints:
        """Steps whose returns are complete once those below `high` are."""
        high_n = np.maximum(self.high_B[slot_n], high_n)
        added = self._steps(slot_n, np.maximum(self.high_B[slot_n], self.low_B[slot_n]), high_n)
        self.high_B[slot_n] = high_n
        return added

    def _steps(self, slot_n: Ints, begin_n: Ints, end_n: Ints) -> Ints:
        """Flat positions of the steps among rows [begin, end)."""
        row_nw = begin_n[:, np.newaxis] + np.arange(max(0, int((end_n - begin_n).max(initial=0))))
        position = self.positions(slot_n[:, np.newaxis], row_nw)[row_nw < end_n[:, np.newaxis]]
        steps: Ints = position[(self.flags[position] & STEPPED) != 0]
        return steps
