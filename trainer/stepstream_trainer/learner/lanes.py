"""The lanes of one lease: which slots a stream serves, and how far each is."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Lane = int
Slot = int


class Lanes:
    """n slots of one group, a lane each. Changed by the lease's own thread, or under the slots' lock."""

    def __init__(self, group: int, slots: Sequence[Slot]) -> None:
        self.group = group
        self.slot_n = np.array(slots, np.int64)
        self.live_n = np.zeros(len(slots), np.bool_)
        """Lanes that serve their slot; the others are vacant."""
        self.row_n = np.zeros(len(slots), np.int64)
        """Number of the row that a live lane brings next or, while it waits for an action, brought last."""
        self.restart_n = np.zeros(len(slots), np.bool_)
        """Lanes whose next action is to begin their episode anew."""
        self.adopting: list[Lane] = []
        """Lanes that are theirs to serve from the next action on."""
        self.leaving: set[Slot] = set()
        """Slots that the simulator was told to let go at their episode's end."""
        self.replayed_n = np.zeros(len(slots), np.int64)
        """Actions of the episode that the simulator was given to replay."""
        self.rebuilt = False
        """Whether the first rows, those of the replayed episodes, have come."""
        self.writing = False
        self.closed = False
        self._lane_of = {slot: lane for lane, slot in enumerate(slots)}

    def lane_of(self, slot: Slot) -> Lane:
        return self._lane_of[slot]

    def serving(self) -> NDArray[np.int64]:
        """Lanes that take actions: the live ones and those about to be."""
        lanes = np.flatnonzero(self.live_n)
        return np.concatenate([lanes, np.array(self.adopting, np.int64)]) if self.adopting else lanes


def runs(lanes: NDArray[np.int64], slot_n: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Cut `lanes` (ascending) into the longest pieces that can be copied at once: (lanes, their slots)."""
    if not len(lanes):
        return
    slots = slot_n[lanes]
    together = (np.diff(lanes) == 1) & (np.diff(slots) == 1)
    starts = [0, *(np.flatnonzero(~together) + 1).tolist()]
    for start, stop in zip(starts, [*starts[1:], len(lanes)], strict=True):
        lane, slot, length = int(lanes[start]), int(slots[start]), stop - start
        yield slice(lane, lane + length), slice(slot, slot + length)
