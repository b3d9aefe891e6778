"""The memory of one rollout: T steps of B slots, made once and written in place.

Arrays of the policy's inputs and outputs live on the device (for a CPU, NumPy and torch views of the same memory); the
environment's answers arrive in host memory and cross over once, when the rollout is complete. T horizon, B slots.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.batch import RolloutBatch


class Rollout:
    """`observation` [T+1, B, *shape] holds what the network read at each step; row T is read for its value only."""

    def __init__(
        self, *, horizon: int, num_slots: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], device: torch.device
    ) -> None:
        self.horizon = horizon
        self.device = device
        pin = device.type == "cuda"
        step, final = (horizon, num_slots), (horizon + 1, num_slots, *shape)
        self._observation = _empty(final, torch.from_numpy(np.empty(0, dtype)).dtype, pin)
        self._action = _empty(step, torch.int64, pin)
        self._log_prob = _empty(step, torch.float32, pin)
        self._value = _empty(step, torch.float32, pin)
        self._reward = _empty(step, torch.float32, pin)
        self._terminated = _empty(step, torch.bool, pin)
        self._truncated = _empty(step, torch.bool, pin)
        self._final_value = _empty(step, torch.float32, pin)
        self.version = np.zeros(step, np.int64)
        """Of the policy that acted: updates behind its parameters."""
        self.observation: NDArray[np.generic] = self._observation.numpy()
        self.action: NDArray[np.int64] = self._action.numpy()
        self.log_prob: NDArray[np.float32] = self._log_prob.numpy()
        self.value: NDArray[np.float32] = self._value.numpy()
        self.reward: NDArray[np.float32] = self._reward.numpy()
        self.terminated: NDArray[np.bool_] = self._terminated.numpy()
        self.truncated: NDArray[np.bool_] = self._truncated.numpy()
        self.final_value: NDArray[np.float32] = self._final_value.numpy()

    def observation_tensor(self, t: int, slots: slice) -> torch.Tensor:
        """What the network reads at step t for `slots`: a view, in host memory (pinned with an accelerator)."""
        return self._observation[t, slots]

    def batch(self, next_value_B: torch.Tensor, *, on_policy: bool) -> RolloutBatch:
        """The complete rollout on the device. Valid until the next rollout begins."""

        def move(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(self.device, non_blocking=True)

        return RolloutBatch(
            observation_TB=move(self._observation[: self.horizon]),
            action_TB=move(self._action),
            log_prob_TB=move(self._log_prob),
            value_TB=move(self._value),
            reward_TB=move(self._reward),
            terminated_TB=move(self._terminated),
            truncated_TB=move(self._truncated),
            final_value_TB=move(self._final_value),
            next_value_B=next_value_B,
            on_policy=on_policy,
        )

    def begin_after(self, before: Rollout) -> None:
        """The last observations of `before`, which may be this one, become the first."""
        self.observation[0] = before.observation[self.horizon]


def _empty(shape: tuple[int, ...], dtype: torch.dtype, pin: bool) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, pin_memory=pin)
