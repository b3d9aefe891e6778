"""What is learned from is what happened: rows of real simulators, joined to the actions that led to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.networks import ActorCritic, build_actor_critic
from stepstream_trainer.algorithms.observations import Vectors
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.q_learning import QUpdate, descent_of, network_of, objective_of
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.algorithms.together import Alone
from stepstream_trainer.config import DQNParameters
from stepstream_trainer.learner.acting import Actor
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.gathering import Gatherer
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.observing import observing
from stepstream_trainer.learner.replay_experience import ReplayExperience, ReplayParts
from stepstream_trainer.learner.rollout_experience import RolloutExperience
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.learner.stints import Stint
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.replay import Replay
from tests.support.data_plane import config_of, data_plane
from tests.support.environments import Ledger
from tests.support.replays import layout_of, options_of

LENGTH = 7
LEDGER = {
    "id": "Ledger",
    "entryPoint": f"{Ledger.__module__}:Ledger",
    "deterministic": True,
    "kwargs": {"length": LENGTH},
}
HORIZON, SLOTS = 32, 4
CPU = torch.device("cpu")
FLOAT32 = Precision(device=CPU, dtype=torch.float32)
READ = Vectors(size=2)


def go_on() -> None:
    """Nothing stops the gathering."""


class Keeper:
    """In an update's place: keeps copies of what it is given."""

    def __init__(self) -> None:
        self.batch: dict[str, torch.Tensor] = {}

    def update(self, batch: RolloutBatch, *, progress: float, update_number: int) -> Mapping[str, float]:
        self.batch = {
            name: getattr(batch, name).clone() for name in RolloutBatch.__dataclass_fields__ if name != "on_policy"
        }
        return {"learning_rate": 0.0}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def gatherer_of(slots: Slots, episodes: EpisodeTracker) -> Gatherer:
    config = config_of(LEDGER, environments=SLOTS)
    seen = observing(config.environment, slots.spaces.shape, slots.spaces.dtype, 0)
    metrics = LearnerMetrics(new_registry(), frame_skip=1)
    return Gatherer(config, slots=slots, stack=seen.stack, metrics=metrics, episodes=episodes)


@pytest.fixture(scope="module")
def rollout() -> tuple[dict[str, torch.Tensor], ActorCritic, EpisodeTracker]:
    """The second of two rollouts, as arrays with T and B in front; the network that acted; the episodes that ended."""
    network = build_actor_critic(READ, 2, seed=1, precision=FLOAT32)
    keeper, episodes = Keeper(), EpisodeTracker(SLOTS, window=1000)
    with data_plane(config_of(LEDGER, environments=SLOTS, simulators=2), "a", "b") as plane:
        slots = plane.learner.begin()
        memory = Rollout(horizon=HORIZON, num_slots=SLOTS, shape=(2,), dtype=np.dtype(np.float32), device=CPU)
        actor = Actor(Policy(network, FLOAT32))
        experience = RolloutExperience(gatherer_of(slots, episodes), [memory], actor, keeper, seed=5)
        experience.begin(go_on)
        for first in (0, HORIZON):
            position = Position(slot_steps=first, steps=first * SLOTS)
            list(experience.learn(experience.collect(position, go_on), position, 0.0))
    return keeper.batch, network, episodes


Made = tuple[dict[str, torch.Tensor], ActorCritic, EpisodeTracker]


def test_a_rewards_step_is_the_one_whose_observation_and_action_led_to_it(rollout: Made) -> None:
    batch = rollout[0]
    np.testing.assert_array_equal(batch["reward_TB"], 100 * batch["observation_TB"][..., 0] + batch["action_TB"])


def test_an_observation_follows_from_the_step_before_it_and_a_new_episode_from_nothing(rollout: Made) -> None:
    seen, action = rollout[0]["observation_TB"], rollout[0]["action_TB"]
    goes_on = seen[:-1, :, 0] < LENGTH - 1
    expected = torch.stack([seen[:-1, :, 0] + 1, action[:-1].float()], -1) * goes_on[..., None]
    np.testing.assert_array_equal(seen[1:], expected)
    assert 0 < goes_on.sum() < goes_on.numel()


def test_an_end_is_marked_at_the_step_that_brought_it(rollout: Made) -> None:
    batch = rollout[0]
    last = batch["observation_TB"][..., 0] == LENGTH - 1
    np.testing.assert_array_equal(batch["terminated_TB"], last & (batch["action_TB"] == 1))
    np.testing.assert_array_equal(batch["truncated_TB"], last & (batch["action_TB"] == 0))
    assert batch["terminated_TB"].any()
    assert batch["truncated_TB"].any()


def test_values_are_of_what_was_seen_and_of_what_a_cut_episode_saw_last(rollout: Made) -> None:
    batch, network, _ = rollout
    with torch.inference_mode():
        of_seen = network(batch["observation_TB"].flatten(0, 1))[1].view(HORIZON, SLOTS)
        of_last = network(torch.tensor([[float(LENGTH), 0.0]]))[1]
    cut = batch["truncated_TB"]
    torch.testing.assert_close(batch["value_TB"], of_seen)
    torch.testing.assert_close(batch["final_value_TB"][cut], of_last.expand(int(cut.sum())))


def test_every_whole_episode_is_booked_with_its_return_and_length(rollout: Made) -> None:
    episodes = rollout[2]
    assert episodes.finished == 2 * HORIZON // LENGTH * SLOTS
    assert episodes.recent.mean_length == LENGTH
    returns = episodes.recent.state_dict()["returns"]
    by_steps = sum(100 * step for step in range(LENGTH))
    assert all(by_steps <= value <= by_steps + LENGTH for value in returns)


def replay_experience(slots: Slots, stint: Stint, replay: Replay) -> ReplayExperience:
    """DQN's, with actions all but at random."""
    episodes = EpisodeTracker(SLOTS, window=10)
    parameters, gatherer = DQNParameters(), gatherer_of(slots, episodes)
    network, target = (network_of(parameters, READ, 2, seed=seed, precision=FLOAT32) for seed in (1, 2))
    objective, descent = objective_of(parameters, CPU), descent_of(parameters, network)
    parts = ReplayParts(
        gatherer=gatherer,
        stints=[stint],
        replay=replay,
        actor=Actor(QPolicy(network, FLOAT32, support_K=None)),
        update=QUpdate(network, target, parameters, objective, descent, FLOAT32),
        metrics=LearnerMetrics(new_registry(), frame_skip=1),
        together=Alone(),
        files=None,
    )
    return ReplayExperience(parts, parameters, seed=5, num_slots=SLOTS)


def new_replay() -> Replay:
    return Replay(options_of(rows=50, slots=SLOTS), layout_of((2,)), device=CPU)


def test_a_stint_hands_the_replay_each_step_with_its_own_outcome() -> None:
    with data_plane(config_of(LEDGER, environments=SLOTS, simulators=2), "a", "b") as plane:
        slots = plane.learner.begin()
        stint = Stint(slots, shape=(2,), dtype=np.dtype(np.float32), device=CPU)
        experience = replay_experience(slots, stint, new_replay())
        experience.begin(go_on)
        experience.collect(Position(), go_on)
        made = [(stint.observation[t].copy(), stint.outcomes(t)) for t in range(stint.slot_steps)]
    for seen, outcome in made:
        ends = seen[:, 0] == LENGTH - 1
        np.testing.assert_array_equal(outcome.reward_n, 100 * seen[:, 0] + outcome.action_n)
        np.testing.assert_array_equal(outcome.terminated_n, ends & (outcome.action_n == 1))
        np.testing.assert_array_equal(outcome.truncated_n, ends & (outcome.action_n == 0))
        np.testing.assert_array_equal(outcome.ended_n, ends)
        after = np.stack([seen[:, 0] + 1, outcome.action_n], axis=-1)
        np.testing.assert_array_equal(outcome.observation_n, np.where(ends[:, np.newaxis], 0, after))
        np.testing.assert_array_equal(outcome.final_observation_n[outcome.truncated_n], after[outcome.truncated_n])
    assert any(outcome.truncated_n.any() for _, outcome in made)


def test_a_step_whose_outcome_was_lost_with_its_simulator_is_never_sampled() -> None:
    replay = new_replay()
    lossy = LEDGER | {"deterministic": False}
    with data_plane(config_of(lossy, environments=SLOTS), "a") as plane:
        slots = plane.learner.begin()
        stint = Stint(slots, shape=(2,), dtype=np.dtype(np.float32), device=CPU)
        experience = replay_experience(slots, stint, replay)
        experience.begin(go_on)
        iterate(experience, first=0)
        plane.simulators.kill("a")
        plane.simulators.start("b")
        iterate(experience, first=stint.slot_steps)
    sample = replay.sample(4000, draw_number=1)
    seen, after, action, goes_on = (
        sample.observation_N,
        sample.next_observation_N,
        sample.action_N,
        sample.bootstrap_N > 0,
    )
    np.testing.assert_array_equal(sample.return_N, 100 * seen[:, 0] + action)
    np.testing.assert_array_equal(after[goes_on, 0], seen[goes_on, 0] + 1)
    assert len(np.unique(sample.index_N)) == SLOTS * (2 * stint.slot_steps - 1)


def iterate(experience: ReplayExperience, *, first: int) -> None:
    """One iteration, `first` steps of every slot into the job."""
    position = Position(slot_steps=first, steps=first * SLOTS)
    gathered = experience.collect(position, go_on)
    done = Position(slot_steps=first + experience.slot_steps, steps=(first + experience.slot_steps) * SLOTS)
    assert list(experience.learn(gathered, done, 0.0)) == []
