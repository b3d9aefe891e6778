"""The Q family's iterations: updates, copies of the target network, epsilon and beta come when the schedules say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.q_learning import QUpdate, Update
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.algorithms.together import Alone
from stepstream_trainer.config import DQNParameters
from stepstream_trainer.learner.acting import Actor
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.gathering import Gatherer, Outcome, Pause, Turn
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.replay_experience import ReplayExperience, ReplayParts
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.learner.stints import Stint
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.replay import Replay, ReplaySample
from stepstream_trainer.rows import Array, Spaces
from tests.support.replays import layout_of, options_of

SLOTS = 4
SPACES = Spaces(shape=(2,), dtype=np.dtype(np.float32), num_actions=3, num_categories=0)
CPU = torch.device("cpu")
PARAMETERS = DQNParameters(
    prioritized=True,
    batch_size=24,
    training_intensity=2.5,
    learning_starts_steps=100,
    target_update_steps=90,
    replay_capacity_steps=2000,
    epsilon_decay_steps=500,
    final_epsilon=0.1,
)
TOTAL_STEPS = 1600


class Endless:
    """In a gatherer's place: every action leads to the next observation, and no episode ends."""

    def __init__(self) -> None:
        self.slots = Slots(SPACES, num_slots=SLOTS, groups=1, deterministic=True)

    def first_observations(self, out: Array, pause: Pause) -> None:
        out[:] = self.slots.observation

    def alternate(self, steps: int, *, act: Turn, receive: Turn, pause: Pause) -> None:
        for t in range(steps):
            act(t, 0)
            receive(t + 1, 0)

    def answer(self, group: int, action_n: NDArray[np.int64], started: float) -> None:
        self.slots.observation += np.float32(1)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def outcome(self, group: int) -> Outcome:
        never = np.zeros(SLOTS, np.bool_)
        reward = np.ones(SLOTS, np.float32)
        return Outcome(reward_n=reward, terminated_n=never, truncated_n=never, ended_n=never, cut_n=never)

    def advance_stacks(self, group: int, ended_n: NDArray[np.bool_], previous: Array, out: Array) -> None:
        out[:] = self.slots.observation


@dataclass
class Seen:
    """What policy, update and replay were asked for, in order."""

    epsilon: list[list[float]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    exponents: list[float] = field(default_factory=list)


class Policy:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def act(self, observation: torch.Tensor, uniform_B: torch.Tensor, epsilon_B: torch.Tensor) -> torch.Tensor:
        self._seen.epsilon.append(epsilon_B.tolist())
        return torch.zeros(len(observation), dtype=torch.int64)


class Updates:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def update(self, batch: ReplaySample) -> Update:
        self._seen.done.append("update")
        return Update(priority_N=torch.ones(len(batch.index_N)), figures={})

    def copy_to_target(self) -> None:
        self._seen.done.append("copy")


class Sampled(Replay):
    seen: Seen

    def sample(self, batch_size: int, draw_number: int, importance_exponent: float = 0.0) -> ReplaySample:
        self.seen.exponents.append(importance_exponent)
        return super().sample(batch_size, draw_number, importance_exponent)


def iterate(until: Callable[[Position], bool]) -> tuple[Seen, Position, list[int], list[int]]:
    """What was asked for, where it ended, and after each iteration the updates so far and the copies in it."""
    seen, gatherer = Seen(), Endless()
    replay = Sampled(options_of(rows=500, slots=SLOTS, prioritized=True), layout_of((2,)), device=CPU)
    replay.seen = seen
    parts = ReplayParts(
        gatherer=cast("Gatherer", gatherer),
        stints=[Stint(gatherer.slots, shape=(2,), dtype=np.dtype(np.float32), device=CPU)],
        replay=replay,
        actor=Actor(cast("QPolicy", Policy(seen))),
        update=cast("QUpdate", Updates(seen)),
        metrics=LearnerMetrics(new_registry(), frame_skip=1),
        together=Alone(),
        files=None,
    )
    experience = ReplayExperience(parts, PARAMETERS, seed=3, num_slots=SLOTS)
    experience.begin(pause=lambda: None)
    position, updates, copies = Position(), list[int](), list[int]()
    while not until(position):
        before = seen.done.count("copy")
        gathered = experience.collect(position, pause=lambda: None)
        position.slot_steps += experience.slot_steps
        position.steps += experience.slot_steps * SLOTS
        learning: Any = experience.learn(gathered, position, position.steps / TOTAL_STEPS)
        for _ in learning:
            position.updates += 1
        updates.append(position.updates)
        copies.append(seen.done.count("copy") - before)
    return seen, position, updates, copies


def test_updates_copies_epsilon_and_beta_follow_the_steps() -> None:
    seen, position, updates, copies = iterate(lambda position: position.steps >= TOTAL_STEPS)
    stint = position.steps // len(updates)
    ends = [stint * (number + 1) for number in range(len(updates))]
    assert updates == [math.floor(2.5 * max(0, steps - 100) / 24) for steps in ends]
    assert copies == [int(steps // 90 > (steps - stint) // 90) for steps in ends]
    assert sum(copies) == TOTAL_STEPS // 90
    made = [step * SLOTS for step in range(position.slot_steps)]
    expected = [[1 - min(1.0, steps / 500) * 0.9] * SLOTS for steps in made]
    np.testing.assert_allclose(seen.epsilon, expected, rtol=1e-6)
    of_updates = np.repeat(ends, np.diff([0, *updates]))
    np.testing.assert_allclose(seen.exponents, 0.4 + 0.6 * of_updates / TOTAL_STEPS, rtol=1e-9)


def test_the_target_network_is_copied_before_the_updates_of_its_iteration() -> None:
    seen, _, _, _ = iterate(lambda position: position.updates > 0)
    assert seen.done[-1] == "update"
    assert "copy" in seen.done[: seen.done.index("update")]
