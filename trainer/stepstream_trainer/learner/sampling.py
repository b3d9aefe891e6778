"""Collecting one rollout: what simulators sent is recorded, the policy answers, the next step begins.

    for each step t, for each group g:          simulators of g          simulators of the other group
        receive(t, g)   wait for g's rows       (idle: they are sent)    step their environments
        act(t, g)       one forward pass                                 step their environments
                        post the actions        step their environments

So while one group is served the other steps, and each waits only for the slowest of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.config import RewardClip, TrainerConfig
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.frames import FrameStack
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.learner.slots import ENDED, LIFE_LOST, TERMINATED, TRUNCATED, Slots
from stepstream_trainer.seeding import uniforms


class Interrupted(Exception):
    """The learner was asked to stop while it waited for simulators."""


class RolloutSampler:
    """Fills a rollout from the slots with the policy at hand. Loop thread only.

    `pause` is called at every step, and every second while simulators let us wait; it may raise Interrupted.
    """

    def __init__(
        self,
        config: TrainerConfig,
        *,
        slots: Slots,
        stack: FrameStack,
        rollout: Rollout,
        policy: Policy,
        metrics: LearnerMetrics,
        episodes: EpisodeTracker,
        pause: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._stack = stack
        self._rollout = rollout
        self._policy = policy
        self._metrics = metrics
        self._episodes = episodes
        self._pause = pause
        self._seed = config.seed
        atari = config.environment.atari if config.environment.is_atari else None
        self._clip_reward = atari is not None and atari.reward_clip is RewardClip.Sign
        life_ends_return = atari is not None and atari.terminal_on_life_loss
        self._terminal_flags = TERMINATED | (LIFE_LOST if life_ends_return else 0)

    def first_observations(self) -> None:
        """Wait for the first rows of all slots: where a fresh job begins."""
        for group, slots in enumerate(self._slots.group_slices):
            self._wait(group)
            self._stack.start(self._slots.observation[slots], self._rollout.observation[0, slots])

    def collect(self, first_step: int) -> torch.Tensor:
        """Fill the rollout; give the values [B] of the observations after it. `first_step` counts a slot's steps."""
        uniform_TB = uniforms(
            self._seed, self._slots.global_slots, np.arange(first_step, first_step + self._rollout.horizon)
        )
        groups = range(len(self._slots.group_slices))
        for t in range(self._rollout.horizon):
            self._pause()
            for group in groups:
                if t > 0:
                    self._receive(t, group)
                self._act(t, group, uniform_TB[t])
        for group in groups:
            self._receive(self._rollout.horizon, group)
        return self._policy.value(self._rollout.observation_tensor(self._rollout.horizon, slice(None)))

    def _act(self, t: int, group: int, uniform_B: NDArray[np.float32]) -> None:
        """Choose and send the actions of `group` at step t."""
        slots = self._slots.group_slices[group]
        started = time.perf_counter()
        action, log_prob, value = self._policy.act(
            self._rollout.observation_tensor(t, slots), torch.from_numpy(uniform_B[slots])
        )
        self._rollout.action[t, slots] = action.numpy()  # sync
        self._slots.post_actions(group, self._rollout.action[t, slots])
        self._rollout.log_prob[t, slots] = log_prob.numpy()
        self._rollout.value[t, slots] = value.numpy()
        rows = slots.stop - slots.start
        self._metrics.served(
            steps=rows,
            rows=rows,
            inference_seconds=time.perf_counter() - started,
        )

    def _receive(self, t: int, group: int) -> None:
        """Wait for what the actions at step t - 1 led to, and record it."""
        self._wait(group)
        slots = self._slots.group_slices[group]
        flags, reward = self._slots.flags[slots], self._slots.reward[slots]
        ended = (flags & ENDED) != 0
        rollout = self._rollout
        np.copyto(rollout.reward[t - 1, slots], np.sign(reward) if self._clip_reward else reward)
        np.copyto(rollout.terminated[t - 1, slots], (flags & self._terminal_flags) != 0)
        self._record_truncations(t, slots)
        returns, lengths = self._episodes.record(slots, reward, ended)
        if returns:
            self._metrics.episodes_ended(returns, lengths)
        self._advance_stacks(t, slots, ended)

    def _advance_stacks(self, t: int, slots: slice, ended_n: NDArray[np.bool_]) -> None:
        """Write observation t: older frames of observation t - 1 and the newest; the newest alone at a new episode."""
        newest, out = self._slots.observation[slots], self._rollout.observation[t, slots]
        self._stack.advance(self._rollout.observation[t - 1, slots], newest, out)
        for lane in np.flatnonzero(ended_n):
            self._stack.start(newest[lane : lane + 1], out[lane : lane + 1])

    def _record_truncations(self, t: int, slots: slice) -> None:
        """Where an episode was cut, the value of its last observation stands in for the steps never made."""
        truncated = (self._slots.flags[slots] & TRUNCATED) != 0
        np.copyto(self._rollout.truncated[t - 1, slots], truncated)
        for lane in np.flatnonzero(truncated):
            slot = slots.start + int(lane)
            one = slice(slot, slot + 1)
            last = np.empty_like(self._rollout.observation[t, one])
            self._stack.advance(self._rollout.observation[t - 1, one], self._slots.final_observation[one], last)
            self._rollout.final_value[t - 1, slot] = self._policy.value(torch.from_numpy(last)).item()  # sync

    def _wait(self, group: int) -> None:
        started = time.perf_counter()
        while not self._slots.wait_group(group, timeout_seconds=1.0):
            self._pause()
        self._metrics.waited(time.perf_counter() - started)
