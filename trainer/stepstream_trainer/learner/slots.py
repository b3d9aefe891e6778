"""The environment slots of a learner: the memory that streams and the loop share, and whose turn it is.

Row k of a slot is what its first k actions led to; row 0 is a first observation. A slot whose newest row answers its
newest action is READY: the loop owns its arrays until it posts the next action. Otherwise it is AWAITED: the stream
that leases it owns them until it has written the row. Owners alternate, so nobody holds a lock while copying; the lock
guards the counts alone. What a slot has played of its episode is kept, so that any simulator can rebuild it.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.logs import get_log

_log = get_log("slots")

START, TERMINATED, TRUNCATED, LIFE_LOST, VACANT = 1, 2, 4, 8, 16
"""Bits of RowFlag in stream.proto."""
ENDED = TERMINATED | TRUNCATED

RESTART = -1
"""The action that begins an episode anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservationLayout:
    """One environment's newest observation as it travels; `num_categories` is 0 unless it is one of so many."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    num_actions: int
    num_categories: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What a stream delivers for its n lanes: observation [n, *shape], reward float32 [n], flags uint8 [n], and the
    last observations [k, *shape] of the k truncated lanes, in order."""

    observation: NDArray[np.generic]
    reward: NDArray[np.float32]
    flags: NDArray[np.uint8]
    final_observation: NDArray[np.generic]


class Lanes:
    """The slots of one lease, in order, and the number of the row each brings next. Owned by one stream's thread."""

    def __init__(self, slots: NDArray[np.int64], next_row: NDArray[np.int64]) -> None:
        self.slots = slots
        self.next_row = next_row
        self.live = np.ones(len(slots), np.bool_)


class Slots:
    """B slots in groups of equal size. `observation` [B, *shape], `reward`, `flags`, `final_observation`: newest."""

    def __init__(
        self, environment: EnvironmentConfig, layout: ObservationLayout, *, num_slots: int, groups: int, rank: int = 0
    ) -> None:
        self._deterministic = environment.is_deterministic
        self.num_actions = layout.num_actions
        self.num_categories = layout.num_categories
        size = num_slots // groups
        self.group_slices = [slice(group * size, (group + 1) * size) for group in range(groups)]
        self.global_slots = rank * num_slots + np.arange(num_slots, dtype=np.uint64)
        self.observation = np.zeros((num_slots, *layout.shape), layout.dtype)
        self.final_observation = np.zeros_like(self.observation)
        self.reward = np.zeros(num_slots, np.float32)
        self.flags = np.zeros(num_slots, np.uint8)
        self._action = np.zeros(num_slots, np.int32)
        self._actions_posted = np.zeros(num_slots, np.int64)
        self._newest_row = np.full(num_slots, -1, np.int64)
        self._episode = np.zeros(num_slots, np.uint64)
        self._history = [array("i") for _ in range(num_slots)]
        self._restart = np.zeros(num_slots, np.bool_)
        self._awaited = [size] * groups
        lock = threading.Lock()
        self._lock = lock
        self._rows_complete = [threading.Condition(lock) for _ in range(groups)]
        self._actions_posted_to = [threading.Condition(lock) for _ in range(groups)]
        self._closed = False

    def wait_group(self, group: int, timeout_seconds: float) -> bool:
        """Whether all slots of the group are READY within the time. Loop thread."""
        with self._lock:
            return self._rows_complete[group].wait_for(lambda: self._awaited[group] == 0, timeout_seconds)

    def post_actions(self, group: int, action_n: NDArray[np.integer[Any]]) -> None:
        """Hand the group's slots to their streams with an action each. Loop thread."""
        slots = self.group_slices[group]
        self._action[slots] = action_n
        for history, action in zip(self._history[slots], action_n.tolist(), strict=True):
            history.append(action)
        with self._lock:
            self._actions_posted[slots] += 1
            self._awaited[group] = slots.stop - slots.start
            self._actions_posted_to[group].notify_all()

    def lease(self, slots: Sequence[int]) -> tuple[Lanes, list[tuple[int, int, bytes]]]:
        """Lanes for these slots; and of each, global slot, episode and actions (int32) that rebuild its environment.

        An environment that actions do not determine cannot be rebuilt: its episode ends where it was lost, as a
        truncation with the last observation seen, and the lane begins the next one.
        """
        with self._lock:
            index = np.array(slots, np.int64)
            lanes = Lanes(index, self._actions_posted[index].copy())
            if not self._deterministic:
                self._cut_lost_episodes(index)
            rebuilds = [
                (int(self.global_slots[slot]), int(self._episode[slot]), self._history[slot].tobytes())
                for slot in slots
            ]
            return lanes, rebuilds

    def write_rows(self, lanes: Lanes, rows: Rows) -> list[int]:
        """Take in the rows of a lease; gives the slots whose episodes ended with them. The lease's thread."""
        slots, newest = lanes.slots, self._newest_row[lanes.slots]
        lanes.live &= (rows.flags & VACANT) == 0
        fresh = lanes.live & (lanes.next_row > newest)
        self._check_rebuilt(lanes, rows, lanes.live & ~fresh)
        taken = slots[fresh]
        cut = slots[fresh & (lanes.next_row > 0) & ((rows.flags & START) != 0)]
        self.final_observation[cut] = self.observation[cut]
        self.observation[taken] = rows.observation[fresh]
        self.reward[taken] = rows.reward[fresh]
        self.flags[taken] = rows.flags[fresh]
        self._take_truncations(lanes, rows, fresh)
        self.reward[cut] = 0.0
        self.flags[cut] = TRUNCATED
        ended = taken[(self.flags[taken] & ENDED) != 0]
        for slot in ended.tolist():
            self._episode[slot] += 0 if slot in cut else 1
            self._history[slot] = array("i")
        self._mark_ready(taken, lanes.next_row[fresh])
        return [int(slot) for slot in ended]

    def wait_actions(self, lanes: Lanes, timeout_seconds: float) -> NDArray[np.int32] | None:
        """The next actions int32 [n] of a lease, or None when the time is over. The lease's thread."""
        group = self._group_of(int(lanes.slots[0]))
        with self._lock:
            posted = self._actions_posted_to[group].wait_for(
                lambda: (
                    self._closed or bool(np.all(self._actions_posted[lanes.slots] > lanes.next_row, where=lanes.live))
                ),
                timeout_seconds,
            )
            if not posted or self._closed:
                return None
        lanes.next_row += 1
        restarting = self._restart[lanes.slots] & lanes.live
        self._restart[lanes.slots[restarting]] = False
        return np.where(restarting, np.int32(RESTART), self._action[lanes.slots])

    def close(self) -> None:
        """No actions will be posted any more: streams that wait for some stop waiting. Any thread."""
        with self._lock:
            self._closed = True
            for condition in self._actions_posted_to:
                condition.notify_all()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed learner needs, all slots READY: copies. Loop thread."""
        return {
            "rows": self._newest_row.copy(),
            "episode": self._episode.copy(),
            "observation": self.observation.copy(),
            "history_lengths": np.array([len(history) for history in self._history]),
            "history": np.concatenate([np.frombuffer(history, np.int32) for history in self._history])
            if any(self._history)
            else np.zeros(0, np.int32),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Before any lease is served."""
        self._newest_row[:] = state["rows"]
        self._actions_posted[:] = state["rows"]
        self._episode[:] = state["episode"]
        self.observation[:] = state["observation"]
        ends = np.cumsum(state["history_lengths"])
        parts = np.split(np.asarray(state["history"], np.int32), ends[:-1])
        self._history = [array("i", part.tobytes()) for part in parts]
        with self._lock:
            self._awaited = [int((self._newest_row[group] < 0).sum()) for group in self.group_slices]

    def _posted(self, lanes: Lanes) -> bool:
        """Whether every live lane has an action that it has not taken. Locked."""
        return bool(np.all(self._actions_posted[lanes.slots] > lanes.next_row, where=lanes.live))

    def _cut_lost_episodes(self, slots: NDArray[np.int64]) -> None:
        """Slots that had begun an episode get a new one: at their awaited row, or at the action to come. Locked."""
        begun = slots[self._newest_row[slots] >= 0]
        self._episode[begun] += np.uint64(1)
        for slot in begun.tolist():
            self._history[slot] = array("i")
        self._restart[begun] = self._actions_posted[begun] == self._newest_row[begun]

    def _check_rebuilt(self, lanes: Lanes, rows: Rows, rebuilt: NDArray[np.bool_]) -> None:
        """A rebuilt slot that already holds its row must have got the same observation again."""
        if not self._deterministic:
            return
        for lane in np.flatnonzero(rebuilt):
            slot = lanes.slots[lane]
            if not np.array_equal(self.observation[slot], rows.observation[lane]):
                _log.error("not_deterministic", slot=int(slot), hint="set environment.deterministic: false")

    def _take_truncations(self, lanes: Lanes, rows: Rows, fresh: NDArray[np.bool_]) -> None:
        truncated = (rows.flags & TRUNCATED) != 0
        if truncated.any():
            kept = fresh[truncated]
            self.final_observation[lanes.slots[truncated][kept]] = rows.final_observation[kept]

    def _mark_ready(self, slots: NDArray[np.int64], row: NDArray[np.int64]) -> None:
        if not len(slots):
            return
        self._newest_row[slots] = row
        group = self._group_of(int(slots[0]))
        with self._lock:
            self._awaited[group] -= len(slots)
            if self._awaited[group] == 0:
                self._rows_complete[group].notify_all()

    def _group_of(self, slot: int) -> int:
        return slot // (self.group_slices[0].stop - self.group_slices[0].start)
