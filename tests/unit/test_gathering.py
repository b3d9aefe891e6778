"""What a group's rows make of what is learned from and of what is reported, and how groups take turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.frames import NoStack
from stepstream_trainer.learner.gathering import Gatherer, Interrupted, Outcome
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.metrics import new_registry
from tests.support.data_plane import CARTPOLE, config_of
from tests.support.played_slots import FRAME, Fate, Moment, PlayedSlots

LIVES = (
    Moment(reward=0.0),
    Moment(reward=7.0, fate=Fate.LIFE_LOST),
    Moment(reward=-3.0, fate=Fate.TERMINATED),
    Moment(reward=0.5),
)
AS_LEARNED = {
    "clipped, a life counts": ({}, [0.0, 1.0, -1.0, 1.0], [False, True, True, False]),
    "clipped": ({"terminalOnLifeLoss": False}, [0.0, 1.0, -1.0, 1.0], [False, False, True, False]),
    "a life counts": ({"rewardClip": "None"}, [0.0, 7.0, -3.0, 0.5], [False, True, True, False]),
    "neither": (
        {"rewardClip": "None", "terminalOnLifeLoss": False},
        [0.0, 7.0, -3.0, 0.5],
        [False, False, True, False],
    ),
}


def gatherer_of(
    slots: Slots,
    environment: dict[str, Any],
    episodes: EpisodeTracker | None = None,
    metrics: LearnerMetrics | None = None,
) -> Gatherer:
    return Gatherer(
        config_of(environment, environments=slots.num_slots, groups=1),
        slots=slots,
        stack=NoStack(FRAME.shape),
        metrics=metrics or LearnerMetrics(new_registry(), frame_skip=1),
        episodes=episodes or EpisodeTracker(slots.num_slots, window=10),
    )


def outcomes_of(gatherer: Gatherer, steps: int) -> list[Outcome]:
    """Of one slot that is told any action, copied."""
    seen = []
    for _ in range(steps):
        gatherer.slots.post_actions(0, np.array([2]))
        assert gatherer.slots.wait_group(0, timeout_seconds=1.0)
        outcome = gatherer.outcome(0)
        seen.append(Outcome(**{name: getattr(outcome, name).copy() for name in Outcome.__dataclass_fields__}))
    return seen


@pytest.mark.parametrize("case", AS_LEARNED)
def test_rewards_are_clipped_and_lives_end_returns_as_configured_but_scores_are_of_whole_games(case: str) -> None:
    atari, rewards, terminated = AS_LEARNED[case]
    slots = PlayedSlots(num_slots=1, groups=1, script=lambda _, step: LIVES[step])
    episodes = EpisodeTracker(1, window=10)
    outcomes = outcomes_of(gatherer_of(slots, {"id": "ALE/Pong-v5", "atari": atari}, episodes), len(LIVES))
    assert [outcome.reward_n[0] for outcome in outcomes] == rewards
    assert [outcome.terminated_n[0] for outcome in outcomes] == terminated
    assert [outcome.ended_n[0] for outcome in outcomes] == [False, False, True, False], "the game goes on"
    assert not any(outcome.truncated_n[0] for outcome in outcomes)
    assert episodes.recent.state_dict() == {"returns": [4.0], "lengths": [3]}


def test_what_is_no_atari_game_is_learned_from_as_it_is() -> None:
    slots = PlayedSlots(num_slots=1, groups=1, script=lambda _, step: LIVES[step])
    outcomes = outcomes_of(gatherer_of(slots, CARTPOLE), len(LIVES))
    assert [outcome.reward_n[0] for outcome in outcomes] == [0.0, 7.0, -3.0, 0.5]
    assert [outcome.terminated_n[0] for outcome in outcomes] == [False, False, True, False]


def test_an_episode_that_was_lost_is_cut_and_booked_nowhere() -> None:
    moments = (Moment(reward=7.0), Moment(fate=Fate.LOST_STEPPING), Moment(reward=1.0, fate=Fate.TRUNCATED))
    slots, episodes = PlayedSlots(num_slots=1, groups=1, script=lambda _, step: moments[step]), EpisodeTracker(1, 10)
    outcomes = outcomes_of(gatherer_of(slots, CARTPOLE, episodes), 3)
    assert [outcome.cut_n[0] for outcome in outcomes] == [False, True, False]
    assert [outcome.truncated_n[0] for outcome in outcomes] == [False, True, True]
    assert episodes.recent.state_dict() == {"returns": [1.0], "lengths": [1]}


@pytest.fixture
def two_groups() -> Gatherer:
    slots = PlayedSlots(num_slots=2, groups=2, script=lambda *_: Moment())
    return gatherer_of(slots, CARTPOLE)


def test_a_group_is_served_while_the_other_steps(two_groups: Gatherer) -> None:
    calls: list[tuple[str, int, int]] = []
    two_groups.alternate(
        3,
        act=lambda t, group: calls.append(("act", t, group)),
        receive=lambda t, group: calls.append(("receive", t, group)),
        pause=lambda: None,
    )
    for group in (0, 1):
        assert [call for call in calls if call[2] == group] == [
            ("act", 0, group),
            *(each for t in (1, 2) for each in (("receive", t, group), ("act", t, group))),
            ("receive", 3, group),
        ]
    for t in (1, 2, 3):  # between a group's actions and their outcome
        begun, ended = calls.index(("act", t - 1, 0)), calls.index(("receive", t, 0))
        assert ("act", t - 1, 1) in calls[begun:ended]
        assert t == 1 or ("receive", t - 1, 1) in calls[begun:ended]
        begun, ended = calls.index(("act", t - 1, 1)), calls.index(("receive", t, 1))
        assert ("receive", t, 0) in calls[begun:ended]
        assert t == 3 or ("act", t, 0) in calls[begun:ended]


def test_every_step_is_a_moment_to_stop(two_groups: Gatherer) -> None:
    acted: list[int] = []

    def pause() -> None:
        if len(acted) == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        two_groups.alternate(9, act=lambda t, _: acted.append(t), receive=lambda *_: None, pause=pause)
    assert acted == [0, 0, 1, 1]


def test_a_wait_for_simulators_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = PlayedSlots(num_slots=1, groups=1, script=lambda *_: Moment())
    metrics = LearnerMetrics(new_registry(), frame_skip=1)
    monkeypatch.setattr(slots, "wait_group", lambda *_, **__: False)
    told: list[float] = []

    def pause() -> None:
        told.append(metrics.totals.phase_seconds[LoopPhase.WAIT])
        if len(told) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        gatherer_of(slots, CARTPOLE, metrics=metrics).first_observations(np.zeros((1, *FRAME.shape)), pause)
    assert 0 < told[0] < told[1] < told[2]
