"""A2C's and PPO's experience: a rollout of every slot, learned from at once and forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.learner.acting import Actor
from stepstream_trainer.learner.experience import NOTHING_KEPT, Gathered, Kept, Learned, Position, State
from stepstream_trainer.learner.gathering import Gatherer, Outcome, Pause
from stepstream_trainer.learner.optimiser import RolloutUpdate
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.seeding import uniforms


class RolloutExperience:
    """Fills rollouts from the slots with the newest policy, in turn, and updates the network from them."""

    def __init__(
        self,
        gatherer: Gatherer,
        rollouts: Sequence[Rollout],
        actor: Actor[Policy],
        update: RolloutUpdate,
        *,
        seed: int,
    ) -> None:
        self._gatherer = gatherer
        self._rollouts = rollouts
        self._turn = 0
        """Index of the rollout that ends with the observations to act on next."""
        self._actor = actor
        self._update = update
        self._seed = seed

    @property
    def slot_steps(self) -> int:
        return self._rollouts[0].horizon

    @property
    def memories(self) -> int:
        return len(self._rollouts)

    def begin(self, pause: Pause) -> None:
        self._gatherer.first_observations(self._newest.observation[self.slot_steps], pause)

    def collect(self, position: Position, pause: Pause) -> Gathered[Rollout]:
        """Fill the next rollout."""
        before = self._newest
        self._turn = (self._turn + 1) % len(self._rollouts)
        rollout, first = self._newest, position.slot_steps
        rollout.begin_after(before)
        uniform_TB = uniforms(self._seed, self._gatherer.slots.global_slots, np.arange(first, first + rollout.horizon))
        self._gatherer.alternate(
            rollout.horizon,
            act=lambda t, group: self._act(rollout, t, group, uniform_TB[t]),
            receive=lambda t, group: self._receive(rollout, t, group),
            pause=pause,
        )
        return Gathered(memory=rollout, progress=self._gatherer.state_dict())

    def learn(self, gathered: Gathered[Rollout], position: Position, progress: float) -> Iterator[Learned]:
        """One update."""
        rollout = gathered.memory
        next_value_B = self._actor.learning.value(rollout.observation_tensor(rollout.horizon, slice(None)))
        batch = rollout.batch(next_value_B, on_policy=not self._actor.apart)
        policy_lag = position.updates - float(rollout.version.mean())
        figures = self._update.update(batch, progress=progress, update_number=position.updates)
        yield Learned(rows=batch.num_samples, figures=figures, policy_lag=policy_lag)

    def act_apart(self, apart: bool) -> None:
        self._actor.act_apart(apart)

    def publish(self, version: int) -> None:
        self._actor.publish(version)

    def progress(self, gathered: Gathered[Rollout]) -> State:
        observation = gathered.memory.observation[self.slot_steps].copy()  # the next collection overwrites it
        return gathered.progress | {"observation": observation}

    def learned_state(self) -> State:
        return {"optimiser": self._update.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._update.load_state_dict(state["optimiser"])
        if "progress" in state:
            self._gatherer.load_state_dict(state["progress"])
            self._newest.observation[self.slot_steps] = state["progress"]["observation"]

    def keep(self) -> Kept:
        """A checkpoint holds everything."""
        return NOTHING_KEPT

    @property
    def _newest(self) -> Rollout:
        return self._rollouts[self._turn]

    def _act(self, rollout: Rollout, t: int, group: int, uniform_B: NDArray[np.float32]) -> None:
        """Choose and send the actions of `group` at step t."""
        slots = self._gatherer.slots.group_slices[group]
        started = time.perf_counter()
        policy, rollout.version[t, slots] = self._actor.newest()
        action, log_prob, value = policy.act(rollout.observation_tensor(t, slots), torch.from_numpy(uniform_B[slots]))
        rollout.action[t, slots] = action.numpy()  # sync
        self._gatherer.answer(group, rollout.action[t, slots], started)
        rollout.log_prob[t, slots] = log_prob.numpy()
        rollout.value[t, slots] = value.numpy()

    def _receive(self, rollout: Rollout, t: int, group: int) -> None:
        """Record what the actions at step t - 1 led to."""
        outcome = self._gatherer.outcome(group)
        slots = self._gatherer.slots.group_slices[group]
        rollout.reward[t - 1, slots] = outcome.reward_n
        rollout.terminated[t - 1, slots] = outcome.terminated_n
        rollout.truncated[t - 1, slots] = outcome.truncated_n
        self._value_truncated(rollout, t, slots, outcome)
        previous, out = rollout.observation[t - 1, slots], rollout.observation[t, slots]
        self._gatherer.advance_stacks(group, outcome.ended_n, previous, out)

    def _value_truncated(self, rollout: Rollout, t: int, slots: slice, outcome: Outcome) -> None:
        """Where an episode was cut, the value of its last observation stands in for the steps never made.

        Of an episode that was lost, that is what the lost action was chosen from.
        """
        lost = slots.start + np.flatnonzero(outcome.cut_n)
        rollout.final_value[t - 1, lost] = rollout.value[t - 1, lost]
        for lane in np.flatnonzero(outcome.truncated_n & ~outcome.cut_n):
            slot = slots.start + int(lane)
            one = slice(slot, slot + 1)
            last = np.empty_like(rollout.observation[t, one])
            self._gatherer.stack.advance(
                rollout.observation[t - 1, one], self._gatherer.slots.final_observation[one], last
            )
            policy, _ = self._actor.newest()
            rollout.final_value[t - 1, slot] = policy.value(torch.from_numpy(last)).item()  # sync
