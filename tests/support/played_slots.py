"""Real slots whose simulators are played in the caller's own thread: every action is answered at once, by a script."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.learner.lanes import Lanes
from stepstream_trainer.learner.slots import LIFE_LOST, START, TERMINATED, TRUNCATED, Slots
from stepstream_trainer.rows import RESTART, Rows, Spaces


class Fate(enum.Enum):
    """What becomes of an action."""

    GOES_ON = enum.auto()
    LIFE_LOST = enum.auto()
    TERMINATED = enum.auto()
    TRUNCATED = enum.auto()
    LOST_STEPPING = enum.auto()
    """The simulator is lost once it has taken the action."""
    LOST_WAITING = enum.auto()
    """The simulator was lost before there was an action to take."""


LOST: Final = frozenset({Fate.LOST_STEPPING, Fate.LOST_WAITING})
ENDS: Final = LOST | {Fate.TERMINATED, Fate.TRUNCATED}

_FLAGS: Final = {
    Fate.GOES_ON: 0,
    Fate.LIFE_LOST: LIFE_LOST,
    Fate.TERMINATED: TERMINATED,
    Fate.TRUNCATED: TRUNCATED,
    Fate.LOST_STEPPING: START,
    Fate.LOST_WAITING: START,
}

FRAME: Final = Spaces(shape=(1, 1), dtype=np.dtype(np.uint8), num_actions=4, num_categories=0)
"""An observation is one pixel."""

PIXELS: Final = 64
"""Of a slot; the first is never shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What an action leads to."""

    fate: Fate = Fate.GOES_ON
    reward: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One step of one slot, as its environment knows it."""

    action: int
    """As the simulator was told it."""
    last_pixel: int
    """What was seen of a truncated episode at last; else 0."""
    pixel: int
    """What is seen next; after an episode's end, the next one's first."""


class PlayedSlots(Slots):
    """A lease for each slot, so that each can be lost by itself. Lost episodes cannot be rebuilt.

    `script` gives what a slot's k-th action leads to. No pixel is shown twice, and none is 0.
    """

    def __init__(self, *, num_slots: int, groups: int, script: Callable[[int, int], Moment]) -> None:
        super().__init__(FRAME, num_slots=num_slots, groups=groups, deterministic=False)
        self.made: list[list[Made]] = [[] for _ in range(num_slots)]
        """By slot."""
        self._script = script
        self._pixel = [slot * PIXELS for slot in range(num_slots)]
        """The latest of each slot."""
        assert num_slots * PIXELS <= 256
        self._lanes = [self._lease(slot) for slot in range(num_slots)]

    def post_actions(self, group: int, action_n: NDArray[np.integer[Any]]) -> None:
        members = range(*self.group_slices[group].indices(self.num_slots))
        moments = {slot: self._script(slot, len(self.made[slot])) for slot in members}
        for slot, moment in moments.items():
            if moment.fate is Fate.LOST_WAITING:
                self._lose(slot)
        super().post_actions(group, action_n)
        for slot, moment in moments.items():
            self._answer(slot, moment)

    def _answer(self, slot: int, moment: Moment) -> None:
        told = self.wait_actions(self._lanes[slot], 0.0)
        assert told is not None
        [action] = told.action.tolist()
        assert (action == RESTART) == (moment.fate is Fate.LOST_WAITING)
        last_pixel = self._new_pixel(slot) if moment.fate is Fate.TRUNCATED else 0
        if moment.fate is Fate.LOST_STEPPING:
            self._lose(slot)
        else:
            self._bring(self._lanes[slot], _FLAGS[moment.fate], moment.reward, last_pixel)
        self.made[slot].append(Made(action=action, last_pixel=last_pixel, pixel=self._pixel[slot]))

    def _lose(self, slot: int) -> None:
        """Another simulator takes the place of the slot's."""
        self.close_lanes(self._lanes[slot])
        self._lanes[slot] = self._lease(slot)

    def _lease(self, slot: int) -> Lanes:
        """A new simulator, which brings its first row."""
        lanes, _ = self.open_lanes(slot * len(self.group_slices) // self.num_slots, [slot])
        self._bring(lanes, START)
        return lanes

    def _bring(self, lanes: Lanes, flags: int, reward: float = 0.0, last_pixel: int = 0) -> None:
        [slot] = lanes.slot_n.tolist()
        rows = Rows(
            observation=_frames(self._new_pixel(slot)),
            reward=np.array([reward], np.float32),
            flags=np.array([flags], np.uint8),
            final_observation=_frames(last_pixel)[: int(flags == TRUNCATED)],
        )
        copied = self.copy_rows(lanes, rows)
        assert copied is not None
        self.finish_rows(lanes, copied)

    def _new_pixel(self, slot: int) -> int:
        self._pixel[slot] += 1
        assert self._pixel[slot] % PIXELS > 0, "the slot has shown all of its pixels"
        return self._pixel[slot]


def _frames(pixel: int) -> NDArray[np.uint8]:
    """One lane's."""
    return np.full((1, 1, 1), pixel, np.uint8)
