"""The Q family's experience: a stint of every slot goes into the replay; updates are made from samples of it.

    collect    for each step, for each group: receive, act by epsilon-greedy      (`gathering.py`)
    learn      the stint's rows -> replay -> samples -> updates, as many as the training intensity asks for
                                   ^                     |
                                   +---- priorities -----+

What is random is a function of the job's seed: an action of (slot, step), a sample of the update's number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.q_learning import QUpdate
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.algorithms.schedules import epsilons, importance_exponent
from stepstream_trainer.algorithms.together import Together
from stepstream_trainer.config import QLearningParameters
from stepstream_trainer.learner.acting import Actor
from stepstream_trainer.learner.experience import NOTHING_KEPT, Gathered, Kept, Learned, Position, State
from stepstream_trainer.learner.gathering import Gatherer, Pause
from stepstream_trainer.learner.intensity import Intensity
from stepstream_trainer.learner.metrics import LearnerMetrics, ReplayStands
from stepstream_trainer.learner.replay_files import ReplayFiles
from stepstream_trainer.learner.stints import Stint
from stepstream_trainer.logs import get_log
from stepstream_trainer.replay import Replay
from stepstream_trainer.seeding import uniforms

_log = get_log("replay")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayParts:
    """What a `ReplayExperience` is made of."""

    gatherer: Gatherer
    stints: Sequence[Stint]
    replay: Replay
    actor: Actor[QPolicy]
    update: QUpdate
    metrics: LearnerMetrics
    together: Together
    files: ReplayFiles | None
    """Where the replay is saved beside the checkpoints."""


class ReplayExperience:
    """Fills stints from the slots with the newest policy, in turn; what is due is learned from the replay."""

    def __init__(
        self, parts: ReplayParts, parameters: QLearningParameters, *, seed: int, num_slots: int, apart: int = 1
    ) -> None:
        """`seed` is the job's, `num_slots` are all learners' slots. It shares a store with others: `apart` in all."""
        self._gatherer = parts.gatherer
        self._stints = parts.stints
        self._turn = 0
        """Index of the stint that ends with the observations to act on next."""
        self._replay = parts.replay
        self._actor = parts.actor
        self._update = parts.update
        self._metrics = parts.metrics
        self._together = parts.together
        self._all_hold_steps = False
        self._files = parts.files
        self._parameters = parameters
        self._seed = seed
        self._num_slots = num_slots
        self._slots_together = num_slots // apart
        """Of the learners that make every update together."""
        self._intensity = Intensity(parameters, apart=apart)
        self._target_steps = 0
        """Of the job, when the target network was last looked at."""
        self._all = slice(0, parts.gatherer.slots.num_slots)

    @property
    def slot_steps(self) -> int:
        return self._stints[0].slot_steps

    @property
    def memories(self) -> int:
        return len(self._stints)

    def begin(self, pause: Pause) -> None:
        self._gatherer.first_observations(self._newest.observation[self.slot_steps], pause)
        self._replay.begin(self._all, self._gatherer.slots.observation)

    def collect(self, position: Position, pause: Pause) -> Gathered[Stint]:
        """Fill the next stint. Epsilon falls from step to step."""
        before = self._newest
        self._turn = (self._turn + 1) % len(self._stints)
        stint, count, first = self._newest, self.slot_steps, position.slot_steps
        stint.begin_after(before)
        uniform_TB = uniforms(self._seed, self._gatherer.slots.global_slots, np.arange(first, first + count))
        epsilon_TB = [self._epsilon_B(position.steps + t * self._num_slots) for t in range(count)]
        self._gatherer.alternate(
            count,
            act=lambda t, group: self._act(stint, t, group, uniform_TB[t], epsilon_TB[t]),
            receive=lambda t, group: self._receive(stint, t, group),
            pause=pause,
        )
        return Gathered(memory=stint, progress=self._gatherer.state_dict())

    def learn(self, gathered: Gathered[Stint], position: Position, progress: float) -> Iterator[Learned]:
        """What is due by now; where the replay still holds no whole step, it stays due."""
        for t in range(self.slot_steps):
            self._replay.append(self._all, gathered.memory.outcomes(t))
        self._follow_target(position.steps)
        intensity, exponent = self._intensity, importance_exponent(self._parameters, progress)
        due = intensity.due(self._steps_together(position.slot_steps)) if self._can_sample() else intensity.updates
        for number in range(intensity.updates, due):
            learned = self._learn_once(number, exponent)
            intensity.updates += 1
            yield learned
        if self._files is not None:
            self._files.write_behind()
        self._tell(position.steps, position.slot_steps)

    def act_apart(self, apart: bool) -> None:
        self._actor.act_apart(apart)

    def publish(self, version: int) -> None:
        self._actor.publish(version)

    def progress(self, gathered: Gathered[Stint]) -> State:
        observation = gathered.memory.observation[self.slot_steps].copy()  # the next collection overwrites it
        return gathered.progress | {"observation": observation, "intensity": self._intensity.state_dict()}

    def learned_state(self) -> State:
        return {"optimiser": self._update.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._update.load_state_dict(state["optimiser"])
        self._target_steps = state["steps"]
        if "progress" in state:
            progress = state["progress"]
            self._gatherer.load_state_dict(progress)
            self._newest.observation[self.slot_steps] = progress["observation"]
            self._intensity.load_state_dict(progress["intensity"])
        if self._files is not None and "replay" in state:
            self._files.restore(state["replay"])
        else:
            self._refill(steps=state["steps"], slot_steps=state["slot_steps"], mid_episode="progress" in state)
        self._tell(state["steps"], state["slot_steps"])

    def keep(self) -> Kept:
        return NOTHING_KEPT if self._files is None else self._files.keep()

    def _refill(self, *, steps: int, slot_steps: int, mid_episode: bool) -> None:
        """Of what was before nothing is left. Slots go on in the middle of their episodes, or begin anew."""
        if mid_episode:
            self._replay.begin(self._all, self._gatherer.slots.observation, mid_episode=True)
        self._intensity.refill(self._steps_together(slot_steps))
        goes_on_at = steps + self._parameters.learning_starts_steps
        _log.warning("replay_refills", steps=steps, learning_goes_on_at=goes_on_at)

    def _steps_together(self, slot_steps: int) -> int:
        return slot_steps * self._slots_together

    def _epsilon_B(self, steps: int) -> NDArray[np.float32]:
        return epsilons(self._parameters, self._gatherer.slots.global_slots, num_slots=self._num_slots, steps=steps)

    @property
    def _newest(self) -> Stint:
        return self._stints[self._turn]

    def _act(
        self, stint: Stint, t: int, group: int, uniform_B: NDArray[np.float32], epsilon_B: NDArray[np.float32]
    ) -> None:
        """Choose and send the actions of `group` at step t."""
        slots = self._gatherer.slots.group_slices[group]
        started = time.perf_counter()
        policy, _ = self._actor.newest()
        action = policy.act(
            stint.observation_tensor(t, slots),
            torch.from_numpy(uniform_B[slots]),
            torch.from_numpy(epsilon_B[slots]),
        )
        stint.action[t, slots] = action.numpy()
        self._gatherer.answer(group, stint.action[t, slots], started)

    def _receive(self, stint: Stint, t: int, group: int) -> None:
        """Record what the actions at step t - 1 led to."""
        outcome = self._gatherer.outcome(group)
        slots = self._gatherer.slots.group_slices[group]
        stint.record(t - 1, slots, outcome)
        previous, out = stint.observation[t - 1, slots], stint.observation[t, slots]
        self._gatherer.advance_stacks(group, outcome.ended_n, previous, out)

    def _follow_target(self, steps: int) -> None:
        """Copy the parameters to the target network if the job passed a multiple of targetUpdateSteps."""
        interval, before = self._parameters.target_update_steps, self._target_steps
        self._target_steps = steps
        if steps // interval > before // interval:
            self._update.copy_to_target()

    def _can_sample(self) -> bool:
        """Whether the replays of all who learn together hold steps; once they do they always will."""
        if not self._all_hold_steps:
            holds = torch.tensor(float(len(self._replay) > 0))
            self._together.average(holds)
            self._all_hold_steps = holds.item() == 1.0
        return self._all_hold_steps

    def _learn_once(self, number: int, exponent: float) -> Learned:
        sample = self._replay.sample(self._parameters.batch_size // self._together.size, number, exponent)
        update = self._update.update(sample)
        priority_N = update.priority_N.cpu().numpy()  # sync
        learned = Learned(rows=len(priority_N), figures=update.figures, policy_lag=None)
        if self._parameters.prioritized:
            self._replay.update_priorities(sample.index_N, priority_N)
        self._metrics.sampled(
            age_steps=float(sample.age_N.mean()) * self._num_slots,
            priority_mean=float(priority_N.mean()),
            priority_largest=float(priority_N.max()),
        )
        return learned

    def _tell(self, steps: int, slot_steps: int) -> None:
        epsilon_B, together = self._epsilon_B(steps), self._steps_together(slot_steps)
        self._metrics.replay_stands(
            ReplayStands(
                steps=len(self._replay),
                capacity_steps=self._replay.options.capacity_steps,
                ratio_asked=self._intensity.asked,
                ratio_reached=self._intensity.reached(together),
                epsilon=float(epsilon_B.mean()),
                steps_to_learning=max(0, self._intensity.learning_from_steps - together),
            )
        )
