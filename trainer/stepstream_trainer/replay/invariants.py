"""What holds of a replay at any time, walked row by row: no step that can be sampled spans a gap or an episode's end.

Nothing here is taken from the code that keeps it so. A walk of a million rows takes a few seconds.
"""

from __future__ import annotations

import numpy as np

from stepstream_trainer.replay.replay import Replay
from stepstream_trainer.replay.ring import FIRST, STEPPED, TERMINAL, Ints, Mask, Ring


def violations(replay: Replay) -> list[str]:
    """One sentence for each kind of thing that does not hold, and the first place."""
    ring = replay.ring
    sampleable = np.zeros(ring.rows_per_slot * ring.num_slots, np.bool_)
    found = []
    for slot in range(ring.num_slots):
        if ring.newest_B[slot] >= 0:
            walk = SlotWalk(ring, slot)
            found += walk.violations()
            sampleable[walk.position_k[walk.sampleable_k()]] = True
    if np.count_nonzero(sampleable) != ring.size:
        found.append(f"{np.count_nonzero(sampleable)} steps can be sampled, {ring.size} are counted")
    if replay.tree is not None:
        if not np.array_equal(replay.tree.leaves > 0, sampleable):
            found.append("a step that can be sampled has no priority, or another row has one")
        if not replay.tree.is_consistent():
            found.append("a node of the sum tree is not the sum of its children")
    return found


class SlotWalk:
    """The rows that one slot holds, oldest first (axis k)."""

    def __init__(self, ring: Ring, slot: int) -> None:
        newest = int(ring.newest_B[slot])
        self._ring = ring
        self._slot = slot
        self._row_k = np.arange(max(0, newest - ring.rows_per_slot + 1), newest + 1)
        self.position_k: Ints = (self._row_k % ring.rows_per_slot) * ring.num_slots + slot
        flags_k = ring.flags[self.position_k]
        self._stepped_k = (flags_k & STEPPED) != 0
        self._terminal_k = (flags_k & TERMINAL) != 0
        self._first_k = (flags_k & FIRST) != 0
        self._older_k = ring.older[self.position_k].astype(np.int64)

    def violations(self) -> list[str]:
        rules = {
            "the newest row has an outcome": np.append(np.zeros(len(self._row_k) - 1, np.bool_), self._stepped_k[-1:]),
            "a row without an outcome ends a return": self._terminal_k & ~self._stepped_k,
            "an episode goes on after a row that nothing is known to have left": self._after(~self._stepped_k)
            & ~self._first_k,
            "an episode begins though the one before it had not ended": self._first_k
            & self._after(self._stepped_k & ~self._terminal_k),
            "a stack has more or fewer frames than its episode": self._wrong_stacks(),
            "a step that can be sampled has lost a frame of its stack": self.sampleable_k()
            & (self._row_k - self._older_k < self._row_k[0]),
            "a return that can be sampled is not complete": self.sampleable_k() & self._broken_returns(),
            "a complete step with its whole stack cannot be sampled": self._complete() & ~self.sampleable_k(),
        }
        return [
            f"slot {self._slot}, row {self._row_k[broken_k.argmax()]}: {sentence}"
            for sentence, broken_k in rules.items()
            if broken_k.any()
        ]

    def sampleable_k(self) -> Mask:
        low, high = self._ring.low_B[self._slot], self._ring.high_B[self._slot]
        sampleable: Mask = (self._row_k >= low) & (self._row_k < high) & self._stepped_k
        return sampleable

    def _after(self, before_k: Mask) -> Mask:
        """Rows whose predecessor is one of these."""
        return np.append(np.zeros(1, np.bool_), before_k[:-1])

    def _wrong_stacks(self) -> Mask:
        """A stack grows by a frame a row, from an episode's first on; of the oldest row's episode little is known."""
        expected = [int(self._older_k[0])]
        for first in self._first_k[1:]:
            expected.append(0 if first else min(expected[-1] + 1, self._ring.depth - 1))
        wrong: Mask = self._older_k != np.array(expected)
        return wrong

    def _complete(self) -> Mask:
        whole_k = self._row_k - self._older_k >= self._row_k[0]
        complete: Mask = self._stepped_k & whole_k & ~self._broken_returns()
        return complete

    def _broken_returns(self) -> Mask:
        """Returns that run into the newest row before they have n steps or an end, or into another episode."""
        newest = len(self._row_k) - 1
        at_k = np.arange(newest + 1)
        done_k, broken_k = np.zeros(newest + 1, np.bool_), np.zeros(newest + 1, np.bool_)
        for _ in range(self._ring.n_step):
            done_k |= ~self._stepped_k[at_k] & (at_k < newest)  # stands on an episode's last frame
            broken_k |= ~done_k & (at_k == newest)
            moves_k = ~done_k & ~broken_k
            done_k |= moves_k & self._terminal_k[at_k]
            at_k = np.minimum(at_k + (moves_k & ~done_k), newest)
            broken_k |= moves_k & ~done_k & self._first_k[at_k]
        return broken_k
