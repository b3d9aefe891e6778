"""Whatever befalls the episodes, a rollout holds at [t, b] what slot b's t-th action was, came of, and led to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.learner.acting import Actor
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.frames import ChannelStack
from stepstream_trainer.learner.gathering import Gatherer
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.rollout_experience import RolloutExperience
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.seeding import uniforms
from tests.support.data_plane import CARTPOLE, config_of
from tests.support.played_slots import ENDS, FRAME, LOST, PIXELS, Fate, Moment, PlayedSlots

HORIZON, SLOTS, ROLLOUTS, DEPTH, SEED = 4, 4, 2, 3, 5
STEPS = HORIZON * ROLLOUTS

MOMENTS = st.builds(Moment, fate=st.sampled_from(Fate), reward=st.integers(-9, 9).map(float))
SCRIPTS = st.lists(st.lists(MOMENTS, min_size=STEPS, max_size=STEPS), min_size=SLOTS, max_size=SLOTS)


def number_of(stack: tuple[int, ...]) -> int:
    """That a stack of pixels can be told by: its digits to the base 256."""
    return int.from_bytes(bytes(stack), "big")


class Legible(Policy):
    """Values are the numbers of what was read, log-probabilities the uniforms; actions follow from both."""

    def __init__(self) -> None:
        pass

    def act(
        self, observation: torch.Tensor, uniform_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        value_N = self.value(observation)
        return ((value_N + 4 * uniform_N).long() % FRAME.num_actions, uniform_N.clone(), value_N)

    def value(self, observation: torch.Tensor) -> torch.Tensor:
        return observation.reshape(-1, DEPTH).float() @ torch.tensor([65536.0, 256.0, 1.0])


class Keeper:
    """In an update's place: keeps copies of what it is given."""

    def __init__(self) -> None:
        self.batches: list[dict[str, torch.Tensor]] = []

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> dict[str, float]:
        self.batches.append(
            {name: getattr(batch, name).clone() for name in RolloutBatch.__dataclass_fields__ if name != "on_policy"}
        )
        return {"learning_rate": 0.0}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def experience_of(slots: PlayedSlots, keeper: Keeper) -> RolloutExperience:
    gatherer = Gatherer(
        config_of(CARTPOLE, environments=SLOTS),
        slots=slots,
        stack=ChannelStack(FRAME.shape, DEPTH),
        metrics=LearnerMetrics(new_registry(), frame_skip=1),
        episodes=EpisodeTracker(SLOTS, window=10),
    )
    rollout = Rollout(
        horizon=HORIZON, num_slots=SLOTS, shape=(1, 1, DEPTH), dtype=FRAME.dtype, device=torch.device("cpu")
    )
    return RolloutExperience(gatherer, [rollout], Actor(Legible()), keeper, seed=SEED)


def gathered(slots: PlayedSlots) -> list[dict[str, torch.Tensor]]:
    """Two rollouts of these slots, one after the other."""
    keeper = Keeper()
    experience = experience_of(slots, keeper)
    experience.begin(pause=lambda: None)
    for number in range(ROLLOUTS):
        position = Position(slot_steps=number * HORIZON)
        rows = experience.collect(position, pause=lambda: None)
        list(experience.learn(rows, position, 0.0))
    return keeper.batches


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """Of one step of one slot. `read` and `read_next` are the numbers of what the network reads before and after it."""

    read: int
    read_next: int
    final_value: int
    """Of a truncated step's last observation."""


def lived(slots: PlayedSlots, slot: int, script: list[Moment]) -> list[Expected]:
    """What the slot went through, straight from the definition of a stack."""
    stack = (0, 0, PIXELS * slot + 1)
    steps = []
    for made, moment in zip(slots.made[slot], script, strict=True):
        last_stack = (*stack[1:], made.last_pixel) if moment.fate is Fate.TRUNCATED else stack
        next_stack = (0, 0, made.pixel) if moment.fate in ENDS else (*stack[1:], made.pixel)
        steps.append(
            Expected(read=number_of(stack), read_next=number_of(next_stack), final_value=number_of(last_stack))
        )
        stack = next_stack
    return steps


@given(script=SCRIPTS, groups=st.sampled_from([1, 2]))
def test_everything_lands_at_its_step_and_slot(script: list[list[Moment]], groups: int) -> None:
    slots = PlayedSlots(num_slots=SLOTS, groups=groups, script=lambda slot, step: script[slot][step])
    batches = gathered(slots)
    uniform = uniforms(SEED, np.arange(SLOTS), np.arange(STEPS))
    for slot in range(SLOTS):
        for step, expected in enumerate(lived(slots, slot, script[slot])):
            batch, t, moment = batches[step // HORIZON], step % HORIZON, script[slot][step]
            at: dict[str, Any] = {
                name[:-3]: batch[name][t, slot].squeeze().tolist() for name in batch if name.endswith("_TB")
            }
            truncated = moment.fate in LOST or moment.fate is Fate.TRUNCATED
            assert number_of(tuple(at["observation"])) == at["value"] == expected.read
            assert at["log_prob"] == uniform[step, slot]
            assert at["action"] == int(np.float32(expected.read) + 4 * uniform[step, slot]) % FRAME.num_actions
            assert moment.fate is Fate.LOST_WAITING or at["action"] == slots.made[slot][step].action
            assert at["reward"] == (0.0 if moment.fate in LOST else moment.reward)
            assert at["terminated"] == (moment.fate is Fate.TERMINATED)
            assert at["truncated"] == truncated
            assert not truncated or at["final_value"] == expected.final_value
            assert t < HORIZON - 1 or batch["next_value_B"][slot] == expected.read_next


def test_an_episode_lost_with_its_simulator_is_bootstrapped_from_what_was_seen_last() -> None:
    moments = [Moment(), Moment(fate=Fate.LOST_STEPPING, reward=5.0), Moment(), Moment(fate=Fate.LOST_WAITING)]
    slots = PlayedSlots(num_slots=SLOTS, groups=2, script=lambda slot, step: moments[step % HORIZON])
    batch = gathered(slots)[0]
    assert batch["truncated_TB"][:, 0].tolist() == [False, True, False, True]
    assert batch["reward_TB"][:, 0].tolist() == [0.0] * HORIZON
    assert batch["final_value_TB"][[1, 3]].equal(batch["value_TB"][[1, 3]])


def test_what_is_to_be_saved_of_a_rollout_outlives_the_collection_of_the_next() -> None:
    slots = PlayedSlots(num_slots=SLOTS, groups=1, script=lambda slot, step: Moment())
    experience = experience_of(slots, Keeper())
    experience.begin(pause=lambda: None)
    state = experience.progress(experience.collect(Position(), pause=lambda: None))
    before = state["observation"].copy()
    experience.collect(Position(slot_steps=HORIZON), pause=lambda: None)
    np.testing.assert_array_equal(state["observation"], before)
