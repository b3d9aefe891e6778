"""The one convention for the ends of episodes, and the rebuilding of episodes that another simulator began.

When an episode ends, its environment is reset at once with the next episode's seed, and one row says it all: reward and
flags of the step that ended it, and the first observation of the episode to come. A truncated episode's last
observation travels beside it. So there is no step that only resets, and nothing that could be learned from by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.logs import get_log
from stepstream_trainer.seeding import episode_seed
from stepstream_trainer.simulator.environments import Array, EnvironmentBatch, Mask, Step

_log = get_log("episodes")

START, TERMINATED, TRUNCATED, LIFE_LOST, VACANT = 1, 2, 4, 8, 16
"""Bits of RowFlag in stream.proto."""

RESTART = -1
"""The action that begins an episode anew."""

IDLE_SEED = 0
"""Of episodes that nobody sees: of lanes that wait for their replay to begin, and of vacant ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotStart:
    """How far a slot has been played: the episode's number and the actions int32 [k] since its first observation."""

    slot: int
    global_slot: int
    episode: int
    actions: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowArrays:
    """One row for each of n lanes, as `Rows` of stream.proto carries it."""

    observation: Array
    reward: NDArray[np.float32]
    flags: NDArray[np.uint8]
    final_observation: Array

    @property
    def episodes_ended(self) -> int:
        return int(np.count_nonzero(self.flags & (TERMINATED | TRUNCATED)))


class LeasedEpisodes:
    """Plays the slots of one lease, a lane each. One thread."""

    def __init__(self, batch: EnvironmentBatch, job_seed: int, starts: Sequence[SlotStart]) -> None:
        self._batch = batch
        self._job_seed = job_seed
        self._starts = starts
        self._lane_of = {start.slot: lane for lane, start in enumerate(starts)}
        self._episode = [start.episode for start in starts]
        self._releasing = np.zeros(len(starts), np.bool_)
        self._vacant = np.zeros(len(starts), np.bool_)

    def rebuild(self) -> RowArrays:
        """Play every slot up to where it stood; gives the rows that its last action, or its beginning, led to.

        Environments of a batch step together, so each lane begins its replay when as many steps are left as it has
        actions, and until then plays for nobody.
        """
        lengths = np.array([len(start.actions) for start in self._starts])
        longest = int(lengths.max())
        rows = self._first_rows(self._begin(lengths == longest), lengths == longest)
        for position in range(longest):
            left = longest - position
            playing = lengths >= left
            action = np.array(
                [
                    start.actions[len(start.actions) - left] if plays else 0
                    for start, plays in zip(self._starts, playing, strict=True)
                ],
                np.int32,
            )
            rows = self._after(
                self._batch.step(action), ends_matter=playing & (left == 1), replaying=playing & (left > 1)
            )
            beginning = lengths == left - 1
            if beginning.any():
                rows = self._first_rows(self._begin(beginning), beginning, rows)
        return rows

    def step(self, action: NDArray[np.int32]) -> RowArrays:
        """One action [n] a lane. The rows of vacant lanes mean nothing."""
        self._vacant |= self._releasing & self._ended_last
        restarting = (action == RESTART) & ~self._vacant
        step = self._batch.step(np.where(action < 0, 0, action).astype(np.int32))
        rows = self._after(step, ends_matter=~self._vacant & ~restarting, replaying=np.zeros_like(restarting))
        if restarting.any():
            rows = self._first_rows(self._begin(restarting), restarting, rows)
        rows.flags[self._vacant] = VACANT
        return rows

    def release(self, slots: Sequence[int]) -> None:
        """Let these slots go when their episodes end."""
        self._releasing[[self._lane_of[slot] for slot in slots]] = True

    @property
    def is_over(self) -> bool:
        """Whether every lane is vacant, or will be with the row just made."""
        return bool((self._vacant | (self._releasing & self._ended_last)).all())

    def close(self) -> None:
        self._batch.close()

    def _after(self, step: Step, *, ends_matter: Mask, replaying: Mask) -> RowArrays:
        """The rows of a step, with ended episodes followed by the next: `ends_matter` lanes' own, others' any."""
        ended = step.terminated | step.truncated
        flags = (
            TERMINATED * step.terminated + TRUNCATED * (step.truncated & ~step.terminated) + LIFE_LOST * step.life_lost
        ).astype(np.uint8)
        cut = ends_matter & ((flags & TRUNCATED) != 0)
        flags[~ends_matter & ended] = 0
        final_observation, observation = step.observation[cut].copy(), step.observation
        self._ended_last = ended & ends_matter
        if ended.any():
            for lane in np.flatnonzero(ended & ends_matter).tolist():
                self._episode[lane] += 1
            for lane in np.flatnonzero(ended & replaying).tolist():
                _log.error(
                    "not_deterministic", slot=self._starts[lane].slot, hint="set environment.deterministic: false"
                )
            observation = self._batch.reset(ended, self._seeds(ended, own=ends_matter | replaying))
        return RowArrays(observation=observation, reward=step.reward, flags=flags, final_observation=final_observation)

    def _begin(self, lanes: Mask) -> Array:
        """Reset these lanes to the beginning of their episodes."""
        return self._batch.reset(lanes, self._seeds(lanes, own=lanes))

    def _seeds(self, lanes: Mask, own: Mask) -> NDArray[np.int64]:
        """For the lanes of a mask, in order; those not of `own` play for nobody."""
        return np.array(
            [
                episode_seed(self._job_seed, self._starts[lane].global_slot, self._episode[lane])
                if own[lane]
                else IDLE_SEED
                for lane in np.flatnonzero(lanes).tolist()
            ],
            np.int64,
        )

    def _first_rows(self, observation: Array, beginning: Mask, others: RowArrays | None = None) -> RowArrays:
        """START rows where episodes begin, `others` elsewhere."""
        flags = np.zeros(len(beginning), np.uint8) if others is None else others.flags
        reward = np.zeros(len(beginning), np.float32) if others is None else others.reward
        final = observation[:0] if others is None else others.final_observation
        flags[beginning] = START
        self._ended_last = np.zeros(len(beginning), np.bool_) if others is None else self._ended_last & ~beginning
        return RowArrays(
            observation=observation, reward=np.where(beginning, 0, reward), flags=flags, final_observation=final
        )
