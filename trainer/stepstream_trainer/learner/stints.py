"""A stint: some steps of every slot on their way into the replay, made once and written in place.

They stay apart from the replay until every slot has made them, so that a stint that is broken off leaves no trace in
it. T steps of each slot, B slots.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.learner.gathering import Outcome
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.replay import Outcomes
from stepstream_trainer.rows import Array

MOST_SLOT_STEPS = 8
MOST_STEPS = 256
"""Steps by one set of parameters: little beside the thousands between two copies of them to the target network, and
enough that what an iteration costs by itself vanishes."""


def slot_steps(num_slots: int) -> int:
    """T: a function of the job alone, as all is that decides what is learned."""
    return max(1, min(MOST_SLOT_STEPS, MOST_STEPS // num_slots))


class Stint:
    """`observation` [T+1, B, *stacked_shape] holds what the network read at each step; row T begins the next stint."""

    def __init__(
        self, slots: Slots, *, shape: tuple[int, ...], dtype: np.dtype[np.generic], device: torch.device
    ) -> None:
        self._slots = slots
        self.slot_steps = slot_steps(slots.num_slots)
        step, frame = (self.slot_steps, slots.num_slots), slots.spaces.shape
        self._observation = torch.zeros(
            (self.slot_steps + 1, slots.num_slots, *shape),
            dtype=torch.from_numpy(np.empty(0, dtype)).dtype,
            pin_memory=device.type == "cuda",
        )
        self.observation: NDArray[np.generic] = self._observation.numpy()
        self.action = np.zeros(step, np.int64)
        self._reward = np.zeros(step, np.float32)
        self._terminated, self._truncated, self._ended, self._cut = (np.zeros(step, np.bool_) for _ in range(4))
        self._frame: Array = np.zeros((*step, *frame), slots.spaces.dtype)
        self._final_frame: Array = np.zeros_like(self._frame)

    def observation_tensor(self, t: int, slots: slice) -> torch.Tensor:
        """What the network reads at step t for `slots`: a view, in host memory (pinned with an accelerator)."""
        return self._observation[t, slots]

    def record(self, t: int, slots: slice, outcome: Outcome) -> None:
        """What the actions of `slots` at step t led to."""
        self._reward[t, slots] = outcome.reward_n
        self._terminated[t, slots] = outcome.terminated_n
        self._truncated[t, slots] = outcome.truncated_n
        self._ended[t, slots] = outcome.ended_n
        self._cut[t, slots] = outcome.cut_n
        self._frame[t, slots] = self._slots.observation[slots]
        for slot in slots.start + np.flatnonzero(outcome.truncated_n):
            self._final_frame[t, slot] = self._slots.final_observation[slot]

    def outcomes(self, t: int) -> Outcomes:
        """Of all slots at step t, for the replay."""
        return Outcomes(
            action_n=self.action[t],
            reward_n=self._reward[t],
            terminated_n=self._terminated[t],
            truncated_n=self._truncated[t],
            ended_n=self._ended[t],
            observation_n=self._frame[t],
            final_observation_n=self._final_frame[t],
            lost_n=self._cut[t],
        )

    def begin_after(self, before: Stint) -> None:
        """The last observations of `before`, which may be this one, become the first."""
        self.observation[0] = before.observation[self.slot_steps]
