"""Every field of spec.environment.atari does what it says to the games: what a simulator's batch gives is compared with
the emulator itself, or with what the game's rules make of it."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

import ale_py
import numpy as np
import pytest
from ale_py import roms
from numpy.typing import NDArray

from stepstream_trainer.config import AtariConfig, EnvironmentConfig, RewardClip, parse
from stepstream_trainer.simulator.atari import AtariBatch
from stepstream_trainer.simulator.environments import Step

NOOP, FIRE, UP, DOWN = 0, 1, 2, 3  # of Pong and Breakout
BARE: dict[str, Any] = {"noopMax": 0, "fireReset": False}
"""Episodes begin where the emulator does."""
UNSCALED = {**BARE, "height": 210, "width": 160}
"""Frames are the emulator's own."""


def begun(game: str, atari: dict[str, Any], seeds: tuple[int, ...] = (1,), **kwargs: Any) -> AtariBatch:
    given = {"id": f"ALE/{game}-v5", "atari": atari, "kwargs": kwargs}
    batch = AtariBatch(parse(EnvironmentConfig, given, path=""), len(seeds))
    batch.reset(np.ones(len(seeds), np.bool_), np.array(seeds))
    return batch


def play(batch: AtariBatch, *action: int, steps: int) -> list[Step]:
    """The same action of each game at each step."""
    return [batch.step(np.array(action, np.int32)) for _ in range(steps)]


@cache
def emulated_frames(rom: str, action: int, count: int) -> list[NDArray[np.uint8]]:
    """What the emulator itself shows after each of its first frames."""
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    path = roms.get_rom_path(rom)
    assert path is not None
    ale.loadROM(path)
    held, frames = ale.getMinimalActionSet()[action], []
    for _ in range(count):
        ale.act(held)
        frames.append(ale.getScreenGrayscale().copy())
    return frames


def frame_of_each_step(skip: int) -> int | None:
    """How many of the emulator's frames make a step, by what is seen after twenty steps; None if it fits nothing."""
    frames = emulated_frames("pong", UP, 20 * 8)
    last = play(begun("Pong", {**UNSCALED, "frameSkip": skip, "maxPool": False}), UP, steps=20)[-1].observation[0]
    fits = [index + 1 for index, frame in enumerate(frames) if np.array_equal(frame, last)]
    return skip if 20 * skip in fits else None


def shape_with(**atari: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of one observation: as it is announced, and as it is."""
    batch = begun("Pong", {**BARE, **atari})
    return batch.spaces.shape, play(batch, NOOP, steps=1)[0].observation.shape[1:]


def pooled(max_pool: bool) -> bool:
    """Whether twenty observations each are the brighter of their step's last two frames' pixels."""
    frames = emulated_frames("pong", UP, 80)
    steps = play(begun("Pong", {**UNSCALED, "maxPool": max_pool}), UP, steps=20)
    brightest = [np.maximum(frames[last - 1], frames[last]) for last in range(3, 80, 4)]
    return all(np.array_equal(step.observation[0], frame) for step, frame in zip(steps, brightest, strict=True))


def episodes_begin_apart(noop_max: int) -> bool:
    """Whether four seeds begin their episodes at different moments of the game."""
    batch = begun("Asterix", {"noopMax": noop_max, "fireReset": False}, seeds=(0, 1, 2, 3))
    last = play(batch, NOOP, NOOP, NOOP, NOOP, steps=12)[-1].observation
    return len({frame.tobytes() for frame in last}) > 1


def actions_count(sticky: str) -> bool:
    """Whether it makes a difference which way the paddle is moved."""
    batch = begun("Pong", {**BARE, "stickyActionProbability": sticky}, seeds=(1, 1))
    last = play(batch, UP, DOWN, steps=30)[-1].observation
    return not np.array_equal(last[0], last[1])


def losses(terminal: bool) -> tuple[str, ...]:
    """What befalls a player who only serves, until the game ends."""
    batch = begun("Breakout", {"terminalOnLifeLoss": terminal})
    seen: list[str] = []
    while "game" not in seen:
        [step] = play(batch, FIRE, steps=1)
        seen += [word for word, flag in (("life", step.life_lost), ("game", step.terminated)) if flag[0]]
    return tuple(seen)


def ball_is_served(fire_reset: bool) -> bool:
    """Whether a life is lost though nobody presses FIRE."""
    return any(step.life_lost[0] for step in play(begun("Breakout", {"fireReset": fire_reset}), NOOP, steps=60))


def least_reward(clip: str) -> float:
    """Of some steps of a slow descent, which costs 6 or 7 hundredths of a second each."""
    steps = play(begun("Skiing", {**BARE, "rewardClip": clip}), NOOP, steps=5)
    return min(float(step.reward[0]) for step in steps)


def steps_to_truncation(limit: int) -> int:
    """Of a game with another number of frames a step than usual, that begins with no-ops."""
    batch = begun("Pong", {"frameSkip": 2, "maxEpisodeSteps": limit})
    return next(n for n in range(1, 20) if play(batch, NOOP, steps=1)[0].truncated[0])


GRAY = (84, 84)
KNOBS: dict[str, tuple[Callable[[Any], object], dict[Any, object]]] = {
    "frame_skip": (frame_of_each_step, {1: 1, 2: 2, 4: 4, 7: 7}),
    "frame_stack": (lambda depth: shape_with(frameStack=depth), {1: (GRAY, GRAY), 4: (GRAY, GRAY)}),
    "height": (lambda height: shape_with(height=height), {36: ((36, 84), (36, 84)), 84: (GRAY, GRAY)}),
    "width": (lambda width: shape_with(width=width), {36: ((84, 36), (84, 36)), 84: (GRAY, GRAY)}),
    "grayscale": (lambda gray: shape_with(grayscale=gray), {True: (GRAY, GRAY), False: ((*GRAY, 3), (*GRAY, 3))}),
    "max_pool": (pooled, {True: True, False: False}),
    "noop_max": (episodes_begin_apart, {0: False, 30: True}),
    "sticky_action_probability": (actions_count, {"0": True, "1": False}),
    "terminal_on_life_loss": (losses, dict.fromkeys((True, False), ("life", "life", "life", "life", "game"))),
    "fire_reset": (ball_is_served, {True: True, False: False}),
    "reward_clip": (least_reward, {RewardClip.Sign.value: -7.0, RewardClip.None_.value: -7.0}),
    "max_episode_steps": (steps_to_truncation, {3: 3, 10: 10}),
}
"""By field of AtariConfig: what is looked at, and what it shows for each value. A batch knows nothing of the three that
are the learner's: how frames are stacked, what a lost life means, and how a reward is clipped."""


@pytest.mark.parametrize(
    ("knob", "value"), [pytest.param(knob, value, id=f"{knob}={value}") for knob in KNOBS for value in KNOBS[knob][1]]
)
def test_a_game_is_played_as_it_is_configured(knob: str, value: object) -> None:
    look, expected = KNOBS[knob]
    assert look(value) == expected[value]


def test_every_field_of_the_preprocessing_is_looked_at() -> None:
    assert KNOBS.keys() == {field.name for field in fields(AtariConfig)}


@pytest.mark.parametrize(("full", "count"), [(False, 6), (True, 18)])
def test_all_eighteen_actions_are_offered_on_demand(full: bool, count: int) -> None:
    assert begun("Pong", BARE, full_action_space=full).spaces.num_actions == count
