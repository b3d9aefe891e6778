"""What both families do with groups: let them alternate, wait for their rows, and read off what is learned from.

    for each step t, for each group g:          simulators of g          simulators of the other group
        receive(t, g)   wait for g's rows       (idle: they are sent)    step their environments
        act(t, g)       one forward pass                                 step their environments
                        post the actions        step their environments

So while one group is served the other steps, and each waits only for the slowest of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.config import RewardClip, TrainerConfig
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.frames import FrameStack
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.slots import CUT, ENDED, LIFE_LOST, TERMINATED, TRUNCATED, Slots
from stepstream_trainer.rows import Array


class Interrupted(Exception):
    """The learner was asked to stop while it waited for simulators."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the last actions of a group's n slots led to."""

    reward_n: NDArray[np.float32]
    """As learned from: clipped if the job says so."""
    terminated_n: NDArray[np.bool_]
    """The return ends: with the game, or with a life where that counts."""
    truncated_n: NDArray[np.bool_]
    ended_n: NDArray[np.bool_]
    """The slot's observation is the first of another episode."""
    cut_n: NDArray[np.bool_]
    """Nobody saw what the action led to; also truncated."""


Turn = Callable[[int, int], None]
"""What is done at a step for a group."""

Pause = Callable[[], None]
"""Called at every step, and every second while simulators let us wait; may raise Interrupted."""


class Gatherer:
    """Serves one group after another. One thread at a time."""

    def __init__(
        self,
        config: TrainerConfig,
        *,
        slots: Slots,
        stack: FrameStack,
        metrics: LearnerMetrics,
        episodes: EpisodeTracker,
    ) -> None:
        self.slots = slots
        self.stack = stack
        self._metrics = metrics
        self._episodes = episodes
        atari = config.environment.atari if config.environment.is_atari else None
        self._clip_reward = atari is not None and atari.reward_clip is RewardClip.Sign
        life_ends_return = atari is not None and atari.terminal_on_life_loss
        self._terminal_flags = TERMINATED | (LIFE_LOST if life_ends_return else 0)

    def first_observations(self, out: Array, pause: Pause) -> None:
        """Wait for the first rows of all slots; write their stacks to `out` [B, *stacked_shape]."""
        for group, slots in enumerate(self.slots.group_slices):
            self._wait(group, pause)
            self.stack.start(self.slots.observation[slots], out[slots])

    def alternate(self, steps: int, *, act: Turn, receive: Turn, pause: Pause) -> None:
        """Let every slot make `steps`: act at 0 to `steps` - 1, receive at 1 to `steps`, when the rows are here."""
        groups = range(len(self.slots.group_slices))

        def receive_when_ready(t: int, group: int) -> None:
            self._wait(group, pause)
            receive(t, group)

        for t in range(steps):
            pause()
            for group in groups:
                if t > 0:
                    receive_when_ready(t, group)
                act(t, group)
        for group in groups:
            receive_when_ready(steps, group)

    def state_dict(self) -> dict[str, Any]:
        """Copies, taken when every row is here and used."""
        return {"slots": self.slots.state_dict(), "episodes": self._episodes.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Before any lease begins."""
        self.slots.load_state_dict(state["slots"])
        self._episodes.load_state_dict(state["episodes"])

    def outcome(self, group: int) -> Outcome:
        """What the group's last actions led to. Their rows are here."""
        slots = self.slots.group_slices[group]
        flags, reward = self.slots.flags[slots], self.slots.reward[slots]
        outcome = Outcome(
            reward_n=np.sign(reward) if self._clip_reward else reward,
            terminated_n=(flags & self._terminal_flags) != 0,
            truncated_n=(flags & TRUNCATED) != 0,
            ended_n=(flags & ENDED) != 0,
            cut_n=(flags & CUT) != 0,
        )
        returns, lengths = self._episodes.record(slots, reward, outcome.ended_n, outcome.cut_n)
        if returns:
            self._metrics.episodes_ended(returns, lengths)
        return outcome

    def advance_stacks(self, group: int, ended_n: NDArray[np.bool_], previous: Array, out: Array) -> None:
        """Write to `out` the stacks that follow `previous`, [n, *stacked_shape] both; new ones where episodes ended."""
        newest = self.slots.observation[self.slots.group_slices[group]]
        self.stack.advance(previous, newest, out)
        for lane in np.flatnonzero(ended_n):
            self.stack.start(newest[lane : lane + 1], out[lane : lane + 1])

    def answer(self, group: int, action_n: NDArray[np.int64], started: float) -> None:
        """Send the group's actions, whose choice began at `started` (time.perf_counter)."""
        self.slots.post_actions(group, action_n)
        rows = len(action_n)
        self._metrics.served(steps=rows, rows=rows, inference_seconds=time.perf_counter() - started)

    def _wait(self, group: int, pause: Pause) -> None:
        """Told as it passes: whoever watches must see a wait that does not end."""
        arrived = False
        while not arrived:
            started = time.perf_counter()
            arrived = self.slots.wait_group(group, timeout_seconds=1.0)
            self._metrics.waited(time.perf_counter() - started)
            if not arrived:
                pause()
