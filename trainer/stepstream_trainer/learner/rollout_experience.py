"""A2C's and PPO's experience: a rollout of every slot, learned from at once and forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.learner.experience import NOTHING_KEPT, Kept, Learned, Position, State
from stepstream_trainer.learner.gathering import Gatherer, Outcome
from stepstream_trainer.learner.optimiser import RolloutUpdate
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.seeding import uniforms


class RolloutExperience:
    """Fills a rollout from the slots with the policy at hand, and updates the network from it. Loop thread only."""

    def __init__(
        self, gatherer: Gatherer, rollout: Rollout, policy: Policy, update: RolloutUpdate, *, seed: int
    ) -> None:
        self._gatherer = gatherer
        self._rollout = rollout
        self._policy = policy
        self._update = update
        self._seed = seed
        self._next_value_B = torch.empty(0)

    @property
    def slot_steps(self) -> int:
        return self._rollout.horizon

    def begin(self) -> None:
        self._gatherer.first_observations(self._rollout.observation[0])

    def collect(self, position: Position) -> None:
        """Fill the rollout, and value the observations after it."""
        horizon, first = self._rollout.horizon, position.slot_steps
        uniform_TB = uniforms(self._seed, self._gatherer.slots.global_slots, np.arange(first, first + horizon))
        self._gatherer.alternate(
            horizon, act=lambda t, group: self._act(t, group, uniform_TB[t]), receive=self._receive
        )
        self._next_value_B = self._policy.value(self._rollout.observation_tensor(horizon, slice(None)))

    def learn(self, position: Position, progress: float) -> Iterator[Learned]:
        """One update."""
        batch = self._rollout.batch(self._next_value_B)
        figures = self._update.update(batch, progress=progress, update_number=position.updates)
        self._rollout.begin_next()
        yield Learned(rows=batch.num_samples, figures=figures, policy_lag=0.0)

    def state_dict(self) -> State:
        return {"optimiser": self._update.state_dict(), "progress": {"observation": self._rollout.observation[0]}}

    def load_state_dict(self, state: State) -> None:
        self._update.load_state_dict(state["optimiser"])
        self._rollout.observation[0] = state["progress"]["observation"]

    def keep(self) -> Kept:
        """A checkpoint holds everything."""
        return NOTHING_KEPT

    def _act(self, t: int, group: int, uniform_B: NDArray[np.float32]) -> None:
        """Choose and send the actions of `group` at step t."""
        slots, rollout = self._gatherer.slots.group_slices[group], self._rollout
        started = time.perf_counter()
        action, log_prob, value = self._policy.act(
            rollout.observation_tensor(t, slots), torch.from_numpy(uniform_B[slots])
        )
        rollout.action[t, slots] = action.numpy()  # sync
        self._gatherer.answer(group, rollout.action[t, slots], started)
        rollout.log_prob[t, slots] = log_prob.numpy()
        rollout.value[t, slots] = value.numpy()

    def _receive(self, t: int, group: int) -> None:
        """Wait for what the actions at step t - 1 led to, and record it."""
        outcome = self._gatherer.receive(group)
        slots, rollout = self._gatherer.slots.group_slices[group], self._rollout
        rollout.reward[t - 1, slots] = outcome.reward_n
        rollout.terminated[t - 1, slots] = outcome.terminated_n
        rollout.truncated[t - 1, slots] = outcome.truncated_n
        self._value_truncated(t, slots, outcome)
        previous, out = rollout.observation[t - 1, slots], rollout.observation[t, slots]
        self._gatherer.advance_stacks(group, outcome.ended_n, previous, out)

    def _value_truncated(self, t: int, slots: slice, outcome: Outcome) -> None:
        """Where an episode was cut, the value of its last observation stands in for the steps never made.

        Of an episode that was lost, that is what the lost action was chosen from.
        """
        lost = slots.start + np.flatnonzero(outcome.cut_n)
        self._rollout.final_value[t - 1, lost] = self._rollout.value[t - 1, lost]
        for lane in np.flatnonzero(outcome.truncated_n & ~outcome.cut_n):
            slot = slots.start + int(lane)
            one = slice(slot, slot + 1)
            last = np.empty_like(self._rollout.observation[t, one])
            self._gatherer.stack.advance(
                self._rollout.observation[t - 1, one], self._gatherer.slots.final_observation[one], last
            )
            self._rollout.final_value[t - 1, slot] = self._policy.value(torch.from_numpy(last)).item()  # sync
