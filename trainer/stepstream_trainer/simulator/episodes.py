"""The one convention for the ends of episodes, and the rebuilding of episodes that another simulator began.

When an episode ends, its environment is reset at once with the next episode's seed, and one row says it all: reward and
flags of the step that ended it, and the first observation of the episode to come. A truncated episode's last
observation travels beside it. So there is no step that only resets, and nothing that could be learned from by mistake.
A lost life ends nothing here: the flag says so, the game goes on, and the learner decides what it makes of it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.logs import get_log
from stepstream_trainer.rows import LIFE_LOST, RESTART, START, TERMINATED, TRUNCATED, VACANT, Rows
from stepstream_trainer.seeding import episode_seed
from stepstream_trainer.simulator.environments import ANY_EPISODE, EnvironmentBatch, Mask

_log = get_log("episodes")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotStart:
    """How far a slot has been played: the episode's number and the actions int32 [k] since its first observation."""

    slot: int
    global_slot: int
    episode: int
    actions: NDArray[np.int32]
    later: bool = False
    """The slot is another's until it is adopted."""
    held: tuple[int, int] | None = None
    """So many of the actions lead to an observation with this CRC-32, as the learner knows it."""


class LeasedEpisodes:
    """Plays the slots of one lease, a lane each; n lanes. One thread.

    What the lanes' rows are to say is kept in arrays, which every move changes where it must.
    """

    def __init__(self, batch: EnvironmentBatch, job_seed: int, starts: Sequence[SlotStart]) -> None:
        n = len(starts)
        self._batch = batch
        self._job_seed = job_seed
        self._starts = starts
        self._lane_of = {start.slot: lane for lane, start in enumerate(starts)}
        self._held_after = np.array([start.held[0] if start.held else -1 for start in starts])
        """Actions that lead to what the learner holds; -1 where it holds nothing."""
        self._episode = [start.episode for start in starts]
        self._live = np.zeros(n, np.bool_)
        """Lanes that play for a slot."""
        self._releasing = np.zeros(n, np.bool_)
        self._ended = np.zeros(n, np.bool_)
        """Live lanes whose episode ended with the latest step."""
        self._released = np.zeros(n, np.bool_)
        """Lanes whose latest row is their last."""
        self._reward = np.zeros(n, np.float32)
        self._flags = np.zeros(n, np.uint8)
        # With the seeds alone, which is the longer part of a reset, and which all lanes do at once.
        self._observation = batch.reset(np.ones(n, np.bool_), np.array([self._seeded(lane)[0] for lane in range(n)]))
        self._last_observation = self._observation
        """What the latest step led to, before any reset."""

    def rebuild(self) -> Rows:
        """Play every slot to where it stood. Each row is what its last action led to, or its episode's beginning.

        The lanes step together, so each begins its replay when as many steps are left as it has actions.
        """
        mine = np.array([not start.later for start in self._starts])
        lengths = np.array([len(start.actions) for start in self._starts])
        action_KN = _aligned([start.actions for start in self._starts])
        otherwise = np.zeros_like(mine)
        for left in range(len(action_KN), 0, -1):
            self._begin(mine & (lengths == left))
            otherwise |= self._differing(lengths - left)
            self._advance(action_KN[-left])
            otherwise |= self._ended & (left > 1)
        self._begin(mine & (lengths == 0))
        otherwise |= self._differing(lengths)
        self._restart_next_episode(otherwise)
        return self._rows()

    def step(self, action: NDArray[np.int32]) -> Rows:
        """One action [n] a lane, RESTART to begin a lane's episode anew. The rows of vacant lanes mean nothing."""
        self._live &= ~self._released
        restarting = self._live & (action == RESTART)
        self._live &= ~restarting
        self._advance(np.maximum(action, 0))
        self._begin(restarting)
        return self._rows()

    def release(self, slots: Sequence[int]) -> None:
        """Let these slots go when their episodes end: with the row after that, their lanes are vacant."""
        self._releasing[[self._lane_of[slot] for slot in slots]] = True

    def adopt(self, slot: int, episode: int) -> None:
        """Begin to serve a slot with this episode. Its first row is the one that the next action leads to."""
        lane = self._lane_of[slot]
        self._episode[lane] = episode
        self._begin(np.arange(len(self._starts)) == lane)

    def close(self) -> None:
        self._batch.close()

    def _advance(self, action: NDArray[np.int32]) -> None:
        """One step of all environments; where episodes end, the next ones begin."""
        step = self._batch.step(action)
        self._observation = self._last_observation = step.observation
        self._reward = step.reward
        self._flags = np.select([step.terminated, step.truncated, step.life_lost], _END_FLAGS, np.uint8(0))
        over = step.terminated | step.truncated
        self._ended = over & self._live
        self._released = self._ended & self._releasing
        if over.any():
            for lane in _indices(self._ended):
                self._episode[lane] += 1
            self._reset(over)

    def _begin(self, lanes: Mask) -> None:
        """Begin, or begin anew, the episodes of these lanes, which are live from now on."""
        if lanes.any():
            self._live |= lanes
            self._reset(lanes)
            self._reward = np.where(lanes, np.float32(0), self._reward)
            self._flags = np.where(lanes, np.uint8(START), self._flags)

    def _differing(self, played: NDArray[np.int64]) -> Mask:
        """Lanes that after `played` [n] actions see something else than the learner saw, where it knows that."""
        differing = np.zeros(len(self._starts), np.bool_)
        for lane in _indices(played == self._held_after):
            _, checksum = self._starts[lane].held or (0, 0)
            differing[lane] = zlib.crc32(self._observation[lane].tobytes()) != checksum
        return differing

    def _restart_next_episode(self, lanes: Mask) -> None:
        """Of lanes whose replayed episode is another than the one to rebuild: that one is lost."""
        if lanes.any():
            for lane in _indices(lanes):
                self._episode[lane] = self._starts[lane].episode + 1
            self._begin(lanes)
            slots = [self._starts[lane].slot for lane in _indices(lanes)]
            _log.error("rebuilt_differently", slots=slots, hint="set spec.environment.deterministic to false")

    def _reset(self, lanes: Mask) -> None:
        """Environments of a batch step together, so those of vacant lanes play, too: any episode does for them."""
        seeded = [self._seeded(lane) if self._live[lane] else (ANY_EPISODE, 0) for lane in _indices(lanes)]
        seeds, numbers = np.array(seeded, np.int64).T
        self._observation = self._batch.reset(lanes, seeds, numbers)

    def _seeded(self, lane: int) -> tuple[int, int]:
        """The seed that the lane's episode follows from, and its number after that seed."""
        number_of_seed, number = divmod(self._episode[lane], self._batch.episodes_per_seed)
        return episode_seed(self._job_seed, self._starts[lane].global_slot, number_of_seed), number

    def _rows(self) -> Rows:
        return Rows(
            observation=self._observation,
            reward=self._reward,
            flags=np.where(self._live, self._flags, np.uint8(VACANT)),
            final_observation=self._last_observation[self._live & (self._flags == TRUNCATED)],
        )


_END_FLAGS = [np.uint8(TERMINATED), np.uint8(TRUNCATED), np.uint8(LIFE_LOST)]


def _indices(lanes: Mask) -> list[int]:
    indices: list[int] = np.flatnonzero(lanes).tolist()
    return indices


def _aligned(actions: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """[K, n]: row -k holds the action that is k-th from last, 0 where there is none."""
    table = np.zeros((max(len(lane) for lane in actions), len(actions)), np.int32)
    for lane, lane_actions in enumerate(actions):
        if len(lane_actions):
            table[-len(lane_actions) :, lane] = lane_actions
    return table
