"""Any simulator can go on where another stopped: episodes are rebuilt from seeds and actions, whatever the layout."""

from zlib import crc32

import gymnasium
import numpy as np
import pytest

from stepstream_trainer.config import EnvironmentConfig, parse
from stepstream_trainer.rows import START, TERMINATED, TRUNCATED, VACANT, Rows
from stepstream_trainer.simulator.environments import EnvironmentRefusedError, make_batch
from stepstream_trainer.simulator.episodes import LeasedEpisodes, SlotStart
from stepstream_trainer.simulator.gymnasium_envs import spaces_of

PONG = {"id": "ALE/Pong-v5", "atari": {"stickyActionProbability": "0.25", "maxEpisodeSteps": 25}}
PONG_WITHOUT_STICKY_ACTIONS = {"id": "ALE/Pong-v5", "atari": {"maxEpisodeSteps": 25}}
CARTPOLE = {"id": "CartPole-v1", "deterministic": True}
ENVIRONMENTS = pytest.mark.parametrize(
    "given", [PONG, PONG_WITHOUT_STICKY_ACTIONS, CARTPOLE], ids=["Pong", "Pong-not-sticky", "CartPole"]
)
STEPS = 60


def environment(given: dict[str, object]) -> EnvironmentConfig:
    return parse(EnvironmentConfig, given, path="spec.environment")


def fresh(config: EnvironmentConfig, slots: list[int]) -> LeasedEpisodes:
    starts = [SlotStart(slot=slot, global_slot=slot, episode=0, actions=np.zeros(0, np.int32)) for slot in slots]
    return LeasedEpisodes(make_batch(config, len(slots)), 5, starts)


def start_of(slot: int, episode: int, actions: list[int], held: tuple[int, int] | None = None) -> SlotStart:
    return SlotStart(slot=slot, global_slot=slot, episode=episode, actions=np.array(actions, np.int32), held=held)


def action_of(step: int, slot: int) -> int:
    """A fixed policy that looks at nothing."""
    return (step * 7 + slot * 3) // 4 % 2


def play(episodes: LeasedEpisodes, slots: list[int], steps: range) -> list[Rows]:
    actions = [np.array([action_of(step, slot) for slot in slots], np.int32) for step in steps]
    return [copy(episodes.rebuild()), *(copy(episodes.step(action)) for action in actions)]


def copy(rows: Rows) -> Rows:
    return Rows(
        observation=rows.observation.copy(),
        reward=rows.reward.copy(),
        flags=rows.flags.copy(),
        final_observation=rows.final_observation.copy(),
    )


def lane(rows: list[Rows], index: int) -> list[tuple[bytes, float, int]]:
    return [(row.observation[index].tobytes(), float(row.reward[index]), int(row.flags[index])) for row in rows]


def history_of(rows: list[Rows], index: int, slot: int) -> tuple[int, list[int]]:
    """Number of the episode that lane is in after these rows, and its actions so far."""
    episode, actions = 0, []
    for step, row in enumerate(rows[1:]):
        actions.append(action_of(step, slot))
        if row.flags[index] & (TERMINATED | TRUNCATED):
            episode, actions = episode + 1, []
    return episode, actions


@ENVIRONMENTS
def test_a_slot_plays_the_same_in_any_company(given: dict[str, object]) -> None:
    config = environment(given)
    together = play(fresh(config, [0, 1, 2]), [0, 1, 2], range(STEPS))
    for slot in (0, 1, 2):
        alone = play(fresh(config, [slot]), [slot], range(STEPS))
        assert lane(alone, 0) == lane(together, slot)
    assert any(row.flags.any() for row in together[1:]), "no episode ended: the test shows too little"


@ENVIRONMENTS
@pytest.mark.parametrize("lost_at", [1, 24, 25, 26, 47])
def test_a_new_simulator_goes_on_where_the_lost_one_stopped(given: dict[str, object], lost_at: int) -> None:
    config, slots = environment(given), [3, 4, 5]
    undisturbed = play(fresh(config, slots), slots, range(STEPS))
    starts = []
    for index, slot in enumerate(slots):
        episode, actions = history_of(undisturbed[: lost_at + 1], index, slot)
        seen = crc32(undisturbed[lost_at].observation[index].tobytes())
        starts.append(start_of(slot, episode, actions, held=(len(actions), seen)))
    rebuilt = play(LeasedEpisodes(make_batch(config, 3), 5, starts), slots, range(lost_at, STEPS))
    for index in range(3):
        expected = lane(undisturbed[lost_at:], index)
        if expected[0][2] & (TERMINATED | TRUNCATED):  # that row was delivered; what follows it is a first observation
            assert rebuilt[0].flags[index] == START
            assert rebuilt[0].observation[index].tobytes() == expected[0][0]
            expected, got = expected[1:], lane(rebuilt, index)[1:]
        else:
            got = lane(rebuilt, index)
        assert got == expected


@ENVIRONMENTS
@pytest.mark.parametrize("seen", [0, 1, 7, 8])
def test_an_episode_that_leads_elsewhere_than_the_learner_saw_is_given_up(given: dict[str, object], seen: int) -> None:
    """Of three replays one is held against what was seen on the way, one against something else, one not at all."""
    config, slots = environment(given), [3, 4, 5]
    undisturbed = play(fresh(config, slots), slots, range(8))
    assert not any(row.flags.any() for row in undisturbed[1:]), "an episode ended: the test is about another case"
    right = crc32(undisturbed[seen].observation[0].tobytes())
    wrong = crc32(undisturbed[seen].observation[1].tobytes()) ^ 1
    starts = [
        start_of(slot, 0, [action_of(step, slot) for step in range(8)], held)
        for slot, held in zip(slots, [(seen, right), (seen, wrong), None], strict=True)
    ]
    rows = LeasedEpisodes(make_batch(config, 3), 5, starts).rebuild()
    second = LeasedEpisodes(make_batch(config, 1), 5, [start_of(4, 1, [])]).rebuild()
    assert rows.flags.tolist() == [0, START, 0]
    assert lane([rows], 1) == lane([second], 0)
    assert lane([rows], 0) == lane(undisturbed[8:], 0)
    assert lane([rows], 2) == lane(undisturbed[8:], 2)


def test_rebuilding_goes_on_beyond_the_episodes_of_one_seed() -> None:
    config, slots, steps = environment({"id": "ALE/Pong-v5", "atari": {"maxEpisodeSteps": 2}}), [6, 7], 140
    undisturbed = play(fresh(config, slots), slots, range(steps))
    for lost_at in (61, 63, 65, 129):  # episodes 30 to 32, and 64
        starts = [
            start_of(slot, episode, actions)
            for index, slot in enumerate(slots)
            for episode, actions in [history_of(undisturbed[: lost_at + 1], index, slot)]
        ]
        assert all(len(start.actions) == 1 for start in starts)
        rebuilt = play(LeasedEpisodes(make_batch(config, 2), 5, starts), slots, range(lost_at, steps))
        for index in range(2):
            assert lane(rebuilt, index) == lane(undisturbed[lost_at:], index)


@pytest.mark.parametrize("game", ["Breakout", "Seaquest", "MontezumaRevenge", "Enduro", "PrivateEye", "Skiing"])
def test_an_atari_episode_depends_on_its_seed_and_number_and_not_on_earlier_play(game: str) -> None:
    """ale-py promises no such thing, and episodes that share a seed rest on it."""
    config = environment({"id": f"ALE/{game}-v5", "atari": {"maxEpisodeSteps": 90}})
    everyone, generator = np.ones(2, np.bool_), np.random.default_rng(1)
    played, skipped = make_batch(config, 2), make_batch(config, 2)
    seeds = np.array([11, 12])
    played.reset(everyone, seeds)
    for number in (1, 2, 3):
        ended = np.zeros(2, np.bool_)
        while not ended[0]:  # the second game goes on, or ends, as it pleases
            step = played.step(generator.integers(0, played.spaces.num_actions, 2, np.int32))
            ended = step.terminated | step.truncated
            if ended[1]:
                played.reset(np.array([False, True]), seeds[1:])
        observation = played.reset(np.array([True, False]), seeds[:1], np.array([number]))
    assert observation[0].tobytes() == skipped.reset(everyone, seeds, 3)[0].tobytes()
    for _ in range(60):
        action = generator.integers(0, played.spaces.num_actions, 2, np.int32)
        one, other = played.step(action), skipped.step(action)
        assert one.observation[0].tobytes() == other.observation[0].tobytes()
        if one.terminated[0]:
            break


def test_a_truncated_row_carries_the_last_observation_and_the_next_first() -> None:
    episodes, moving_up = fresh(environment(PONG), [0]), np.array([2], np.int32)
    episodes.rebuild()
    rows = [copy(episodes.step(moving_up)) for _ in range(26)]
    cut = next(index for index, row in enumerate(rows) if row.flags[0] & TRUNCATED)
    changed = [np.count_nonzero(rows[cut].final_observation[0] != rows[at].observation[0]) for at in (cut - 1, cut)]
    assert changed[0] < changed[1], "the last observation is nearer to the one before it than to the next episode's"


def test_a_released_slot_finishes_its_episode_and_is_vacant_afterwards() -> None:
    episodes = fresh(environment(PONG), [0, 1])
    episodes.rebuild()
    episodes.release([1])
    flags = [int(episodes.step(np.zeros(2, np.int32)).flags[1]) for _ in range(28)]
    ended = flags.index(TRUNCATED)
    assert not any(flags[:ended])
    assert set(flags[ended + 1 :]) == {VACANT}


REFUSED = {
    "no such game": ({"id": "ALE/Pongg-v5"}, "did you mean ALE/Pong-v5"),
    "no such environment": ({"id": "CartPol-v1"}, "there is no environment CartPol-v1: Environment `CartPol` doesn't"),
    "continuous actions": ({"id": "Pendulum-v1"}, "supported are Box and Discrete observations with Discrete actions"),
    "tuple observations": ({"id": "Blackjack-v1"}, "Tuple observations; supported are"),
    "no such module": (
        {"id": "mine", "entryPoint": "nowhere.envs:Maze"},
        "spec.environment.entryPoint: nowhere.envs:Maze",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_environment_that_cannot_be_served_is_refused_in_a_sentence(case: str) -> None:
    given, sentence = REFUSED[case]
    with pytest.raises(EnvironmentRefusedError) as refused:
        make_batch(environment(given), 1)
    assert sentence in str(refused.value)


MANY = gymnasium.spaces.Discrete(65_537)
FEW = gymnasium.spaces.Discrete(65_536)


@pytest.mark.parametrize(
    ("observation", "action", "said"),
    [
        (FEW, MANY, "spec.environment.id: Maze has 65,537 actions; there must be 1 to 65,536"),
        (MANY, FEW, "spec.environment.id: Maze has observations of 65,537 categories; there may be 65,536"),
    ],
)
def test_more_choices_than_a_network_can_have_are_refused(
    observation: gymnasium.spaces.Discrete, action: gymnasium.spaces.Discrete, said: str
) -> None:
    assert spaces_of("Maze", FEW, FEW).num_categories == 65_536
    with pytest.raises(EnvironmentRefusedError, match=said):
        spaces_of("Maze", observation, action)
