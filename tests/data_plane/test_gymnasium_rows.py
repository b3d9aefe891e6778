"""Any Gymnasium environment through the wire: what its rows say, end by end."""

import numpy as np

from stepstream_trainer.rows import START, TERMINATED, TRUNCATED
from stepstream_trainer.seeding import episode_seed
from tests.support.data_plane import SeenRow, config_of, data_plane

HERE = "tests.support.environments"
COUNTER = {"id": "Mine", "entryPoint": f"{HERE}:Counter", "kwargs": {"length": 3}, "deterministic": True}
SEED = 3


def counter(row: bytes) -> tuple[float, ...]:
    return tuple(np.frombuffer(row, np.float64).tolist())


def seed(slot: int, episode: int) -> float:
    return float(episode_seed(SEED, slot, episode))


def test_an_environment_of_the_users_own_is_served_with_its_arguments() -> None:
    with data_plane(config_of(COUNTER, environments=2, groups=1, seed=SEED), "a") as plane:
        first = plane.learner.first_rows()
        rows = plane.learner.play(7)
    for slot in (0, 1):
        assert first[slot].flags == START
        assert counter(first[slot].observation) == (seed(slot, 0), 0.0, 0.0)
        assert [row.flags for row in rows[slot]] == [0, 0, TRUNCATED, 0, 0, TRUNCATED, 0]
        assert {row.reward for row in rows[slot]} == {0.5}
        assert episode_of(rows[slot][3]) == (seed(slot, 1), 1.0)


def test_the_row_that_ends_an_episode_shows_its_last_observation_and_the_next_first_one() -> None:
    with data_plane(config_of(COUNTER, environments=2, groups=1, seed=SEED), "a") as plane:
        cut = plane.learner.play(3)[1][-1]
    assert counter(cut.observation) == (seed(1, 1), 0.0, 0.0)
    assert episode_of_bytes(cut.final_observation) == (seed(1, 0), 3.0)


def test_discrete_observations_and_actions_are_counted_from_0() -> None:
    config = config_of({"id": "Mine", "entryPoint": f"{HERE}:Dice", "deterministic": True}, environments=4, groups=1)
    with data_plane(config, "a") as plane:
        spaces = plane.learner.begin().spaces
        rows = [row for slot in plane.learner.play(30) for row in slot]
    assert (spaces.shape, spaces.dtype, spaces.num_categories) == ((), np.dtype(np.int64), 6)
    assert {int(np.frombuffer(row.observation, np.int64)[0]) for row in rows} == set(range(6))
    assert {row.flags for row in rows} == {0, TERMINATED}


def episode_of(row: SeenRow) -> tuple[float, float]:
    return episode_of_bytes(row.observation)


def episode_of_bytes(observation: bytes) -> tuple[float, float]:
    """Seed of the episode and steps made in it, as Counter sees them."""
    return counter(observation)[0], counter(observation)[1]
