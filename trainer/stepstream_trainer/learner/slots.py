"""The environment slots of a learner: the memory that streams and the loop share, and whose turn it is.

Row k of a slot is what its first k actions led to; row 0 is a first observation. A slot whose newest row answers its
newest action is READY: the loop owns its arrays until it posts the next action. Otherwise it is AWAITED, and the stream
that serves it owns them until the row is written. Owners alternate, so nobody holds the lock while copying; it guards
counters and lanes alone.

What a slot has played of its episode is kept, so that any simulator can rebuild it: a lost simulator's successor, or
all of them when a learner resumes from a checkpoint. The simulator holds the replay against a checksum of the newest
observation here, and begins the next episode where it differs; that cuts the episode. A row that is rebuilt though the
slot already holds it is compared and dropped. Where actions do not determine an episode, it is cut at once: the next
row is a truncation.
"""

import threading
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.learner.lanes import Lanes, runs
from stepstream_trainer.rows import (
    ENDED,
    LIFE_LOST,
    RESTART,
    START,
    TERMINATED,
    TRUNCATED,
    Array,
    Rows,
    Spaces,
)

Mask = NDArray[np.bool_]

__all__ = [
    "CUT",
    "ENDED",
    "LIFE_LOST",
    "START",
    "TERMINATED",
    "TRUNCATED",
    "Copied",
    "LaneActions",
    "LaneStart",
    "Slots",
]

CUT = 128
"""Beside TRUNCATED, here alone: nobody saw what the last action led to, because the episode was lost with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """The newest observation of a slot: what so many actions of its episode led to, and its bytes' CRC-32."""

    actions: int
    checksum: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneStart:
    """What rebuilds a slot's environment: its seed's origin, and the actions (int32, as bytes) since the reset."""

    slot: int
    global_slot: int
    episode: int
    actions: bytes
    later: bool
    held: Held | None
    """What the replay must lead to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneActions:
    """What a stream tells its simulator next."""

    action: NDArray[np.int32]
    """[n]; RESTART where a lost episode that cannot be rebuilt makes room for the next."""
    adopted: Sequence[tuple[int, int]]
    """(slot, episode) of lanes that begin to serve."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What `copy_rows` leaves for `finish_rows` to make known."""

    lane_k: NDArray[np.int64]
    """Lanes whose slots hold a new row."""
    differing: Sequence[int]
    """Lanes whose episode was rebuilt as another than their slot's: the environment is not deterministic."""
    to_restart: Sequence[int]
    """Those of them that were rebuilt to a row which the slot holds: their next action begins an episode."""


class Slots:
    """B slots in groups of equal size. The arrays are the loop's where a slot is READY."""

    def __init__(self, spaces: Spaces, *, num_slots: int, groups: int, deterministic: bool, rank: int = 0) -> None:
        size, rest = divmod(num_slots, groups)
        assert rest == 0
        self.spaces = spaces
        self.group_slices = [slice(group * size, (group + 1) * size) for group in range(groups)]
        self.global_slots = rank * num_slots + np.arange(num_slots, dtype=np.uint64)
        self.observation: Array = np.zeros((num_slots, *spaces.shape), spaces.dtype)
        self.final_observation: Array = np.zeros_like(self.observation)
        """Valid where TRUNCATED."""
        self.reward = np.zeros(num_slots, np.float32)
        self.flags = np.zeros(num_slots, np.uint8)
        self.lock = threading.RLock()
        """Held for moments only, and never while copying. Who leases slots may hold it over several calls."""
        self._deterministic = deterministic
        self._action = np.zeros(num_slots, np.int32)
        self._actions_posted = np.zeros(num_slots, np.int64)
        self._newest_row = np.full(num_slots, -1, np.int64)
        self._episode = np.zeros(num_slots, np.uint64)
        self._history = [array("i") for _ in range(num_slots)]
        self._awaited = [size] * groups
        self._rows_complete = [threading.Condition(self.lock) for _ in range(groups)]
        self._lanes_changed = [threading.Condition(self.lock) for _ in range(groups)]
        self._writing_ended = threading.Condition(self.lock)

    @property
    def num_slots(self) -> int:
        return len(self.reward)

    # The loop's side.

    def rows_ready(self) -> int:
        """Rows that are here and not yet answered. Any thread."""
        with self.lock:
            return len(self.reward) - sum(self._awaited)

    def wait_group(self, group: int, timeout_seconds: float) -> bool:
        """Whether all slots of the group are READY within the time. Loop thread."""
        with self.lock:
            return self._rows_complete[group].wait_for(lambda: self._awaited[group] == 0, timeout_seconds)

    def post_actions(self, group: int, action_n: NDArray[np.integer[Any]]) -> None:
        """Answer the group's rows, all READY, with an action each: from now on its slots are AWAITED. Loop thread."""
        slots = self.group_slices[group]
        with self.lock:
            assert self._awaited[group] == 0
            self._action[slots] = action_n
            if self._deterministic:  # no other episode is rebuilt
                for history, action in zip(self._history[slots], action_n.tolist(), strict=True):
                    history.append(action)
            self._actions_posted[slots] += 1
            self._awaited[group] = slots.stop - slots.start
            self._lanes_changed[group].notify_all()

    def state_dict(self) -> dict[str, Any]:
        """Copies of what a resumed learner needs, taken when every slot is READY and its row is used. Loop thread."""
        assert not any(self._awaited)
        history = np.concatenate([np.frombuffer(actions, np.int32) for actions in self._history])
        return {
            "rows": self._newest_row.copy(),
            "episode": self._episode.copy(),
            "observation": self.observation.copy(),
            "history_lengths": np.array([len(actions) for actions in self._history], np.int64),
            "history": history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand READY where the state was taken. Before any lease begins."""
        self._newest_row[:] = state["rows"]
        self._actions_posted[:] = state["rows"]
        self._episode[:] = state["episode"]
        self.observation[:] = state["observation"]
        ends = np.cumsum(state["history_lengths"])
        histories = np.split(np.asarray(state["history"], np.int32), ends[:-1])
        self._history = [array("i", actions.tobytes()) for actions in histories]
        self._awaited = [0] * len(self._awaited)

    # The streams' side.

    def open_lanes(self, group: int, slots: Sequence[int], later: Sequence[int] = ()) -> tuple[Lanes, list[LaneStart]]:
        """Lanes for these slots, which no live lane serves, and what builds their environments.

        Slots that are also in `later` are still served elsewhere; their lanes are vacant until they are handed over.
        """
        lanes = Lanes(group, slots)
        with self.lock:
            return lanes, [self._open_lane(lanes, lane, slot, slot in later) for lane, slot in enumerate(slots)]

    def copy_rows(self, lanes: Lanes, rows: Rows) -> Copied | None:
        """Copy the rows that the slots await; compare and drop the others. The lease's thread.

        None when the lease has ended. Otherwise `finish_rows` must follow; until then nobody else gets the slots.
        """
        with self.lock:
            if lanes.closed:
                return None
            lanes.writing = True
            awaited_n = lanes.live_n & (lanes.row_n > self._newest_row[lanes.slot_n])
        lane_k = np.flatnonzero(awaited_n)
        cut_n = awaited_n & (lanes.row_n > 0) & ((rows.flags & START) != 0)
        self._copy_final_observations(lanes, rows, awaited_n, cut_n)
        for lane, slot in runs(lane_k, lanes.slot_n):
            self.observation[slot] = rows.observation[lane]
            self.reward[slot] = np.where(cut_n[lane], np.float32(0), rows.reward[lane])
            self.flags[slot] = np.where(cut_n[lane], np.uint8(TRUNCATED | CUT), rows.flags[lane])
        differing = self._differing(lanes, rows, lanes.live_n & ~awaited_n)
        cut = np.flatnonzero(cut_n).tolist() if self._deterministic and not lanes.rebuilt else []
        return Copied(lane_k=lane_k, differing=cut + differing, to_restart=differing)

    def finish_rows(self, lanes: Lanes, copied: Copied) -> list[int]:
        """Make the copied rows READY. Gives the slots that left the lease with them. The lease's thread.

        Whoever receives such a slot must `adopt` it before the lock is let go.
        """
        slot_k = lanes.slot_n[copied.lane_k]
        ended = slot_k[(self.flags[slot_k] & ENDED) != 0].tolist()
        with self.lock:
            self._newest_row[slot_k] = lanes.row_n[copied.lane_k]
            for slot in ended:
                self._episode[slot] += np.uint64(1)
                self._history[slot] = array("i")
            moved = [slot for slot in ended if slot in lanes.leaving]
            lanes.leaving.difference_update(moved)
            lanes.live_n[[lanes.lane_of(slot) for slot in moved]] = False
            lanes.restart_n[copied.to_restart] = True
            lanes.writing, lanes.rebuilt = False, True
            self._writing_ended.notify_all()
            self._awaited[lanes.group] -= len(slot_k)
            if self._awaited[lanes.group] == 0:
                self._rows_complete[lanes.group].notify_all()
        return moved

    def adopt(self, lanes: Lanes, slot: int) -> None:
        """A slot that another lease has just let go is this one's, from its next episode's first action on. Locked."""
        lane = lanes.lane_of(slot)
        lanes.row_n[lane] = self._newest_row[slot]
        lanes.restart_n[lane] = not self._deterministic
        lanes.adopting.append(lane)

    def wait_actions(self, lanes: Lanes, timeout_seconds: float) -> LaneActions | None:
        """What to do next; None when the time is over, or the lease. The lease's thread."""
        with self.lock:
            self._lanes_changed[lanes.group].wait_for(lambda: lanes.closed or len(self._due(lanes)), timeout_seconds)
            due = self._due(lanes)
            return self._take_actions(lanes, due) if len(due) and not lanes.closed else None

    def close_lanes(self, lanes: Lanes) -> None:
        """End the lease, when the row it may be copying is whole. Its slots can be leased anew then. Any thread."""
        with self.lock:
            lanes.closed = True
            self._lanes_changed[lanes.group].notify_all()
            self._writing_ended.wait_for(lambda: not lanes.writing)

    def _open_lane(self, lanes: Lanes, lane: int, slot: int, later: bool) -> LaneStart:
        """Locked."""
        begun = self._newest_row[slot] >= 0
        if not later:
            lanes.live_n[lane] = True
            lanes.row_n[lane] = self._actions_posted[slot]
            # A lost episode is cut at the row that is awaited; where none is, at the action to come.
            lanes.restart_n[lane] = begun and not self._deterministic and self._is_ready(slot)
        rebuilds = self._deterministic and not later
        lanes.replayed_n[lane] = len(self._history[slot]) if rebuilds else 0
        return LaneStart(
            slot=slot,
            global_slot=int(self.global_slots[slot]),
            episode=self._episode_to_build(slot),
            actions=self._history[slot].tobytes() if rebuilds else b"",
            later=later,
            held=self._held(slot) if rebuilds and begun else None,
        )

    def _held(self, slot: int) -> Held:
        """Of a slot that nobody writes to. Locked."""
        actions = len(self._history[slot]) - int(not self._is_ready(slot))
        return Held(actions=actions, checksum=zlib.crc32(self.observation[slot].tobytes()))

    def _due(self, lanes: Lanes) -> NDArray[np.int64]:
        """Lanes with an action to take: all live ones or none. Locked.

        A slot that was played on elsewhere before this stream took its actions is ahead: it begins a turn later.
        """
        serving = lanes.serving()
        return serving[self._actions_posted[lanes.slot_n[serving]] > lanes.row_n[serving]]

    def _take_actions(self, lanes: Lanes, due: NDArray[np.int64]) -> LaneActions:
        """Locked."""
        lanes_adopted = [lane for lane in lanes.adopting if lane in due]
        adopted = [(slot, self._episode_to_build(slot)) for slot in lanes.slot_n[lanes_adopted].tolist()]
        lanes.live_n[lanes_adopted] = True
        lanes.adopting = [lane for lane in lanes.adopting if lane not in lanes_adopted]
        lanes.row_n[due] += 1
        action = np.where(lanes.restart_n, np.int32(RESTART), self._action[lanes.slot_n])
        lanes.restart_n[due] = False
        return LaneActions(action=action, adopted=adopted)

    def _copy_final_observations(self, lanes: Lanes, rows: Rows, awaited_n: Mask, cut_n: Mask) -> None:
        """Of truncated lanes as they say; of an episode cut here, the last that was seen."""
        for slot in lanes.slot_n[cut_n].tolist():
            self.final_observation[slot] = self.observation[slot]
        for position, lane in enumerate(np.flatnonzero(rows.flags & TRUNCATED)):
            if awaited_n[lane]:
                self.final_observation[lanes.slot_n[lane]] = rows.final_observation[position]

    def _differing(self, lanes: Lanes, rows: Rows, rebuilt_n: Mask) -> list[int]:
        """Lanes among `rebuilt_n` that are elsewhere than their slot."""
        if not self._deterministic:
            return []
        return [
            int(lane)
            for lane in np.flatnonzero(rebuilt_n)
            if (rows.flags[lane] & START and lanes.replayed_n[lane])
            or self.observation[lanes.slot_n[lane]].tobytes() != rows.observation[lane].tobytes()
        ]

    def _is_ready(self, slot: int) -> bool:
        return bool(self._newest_row[slot] == self._actions_posted[slot])

    def _episode_to_build(self, slot: int) -> int:
        """The one being played; where that cannot be rebuilt, the next."""
        lost = self._newest_row[slot] >= 0 and not self._deterministic
        return int(self._episode[slot]) + int(lost)
