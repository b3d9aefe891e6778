"""A trained agent, from a run directory, and the playing of whole games with it. Used by evaluate and video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.playing import Playing, build_playing
from stepstream_trainer.algorithms.precision import choose_precision
from stepstream_trainer.config import ConfigurationErrors, EnvironmentConfig, TrainerConfig, load_trainer_config
from stepstream_trainer.learner.checkpoint import CheckpointError, CheckpointStore, Manifest, State
from stepstream_trainer.learner.frames import FrameStack
from stepstream_trainer.learner.observing import observing
from stepstream_trainer.rows import Array, Spaces
from stepstream_trainer.seeding import episode_seed, uniforms
from stepstream_trainer.simulator.environments import EnvironmentBatch, make_batch

EVALUATION_SLOT = 1 << 32
"""Global slot of an evaluation's first episode: far above any that trains, so that no seed is shared with training."""


class NoAgentError(Exception):
    """A run directory without an agent that can be loaded; the message is one sentence for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run directory holds of an agent, before its environment is known."""

    directory: Path
    config: TrainerConfig
    manifest: Manifest
    state: State


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """A policy and what stands between it and an environment."""

    policy: Playing
    stack: FrameStack
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, kw_only=True, slots=True)
class Game:
    """One whole episode: its unclipped return, and its length in steps."""

    episode_return: float
    length: int


def load_run(directory: Path, checkpoint: Path | None = None, job: Path | None = None) -> Run:
    """The newest whole checkpoint, or the one asked for. Raises NoAgentError or CheckpointError.

    `job` is the job.json where it is not in the run directory: on a cluster it is a file of a ConfigMap.
    """
    store = CheckpointStore(directory / "checkpoints", retain=1)
    file = job or directory / "config" / "job.json"
    try:
        config = load_trainer_config(file)
    except OSError as error:
        raise NoAgentError(f"{directory}: is not a run directory: it has no config/job.json") from error
    except ConfigurationErrors as error:
        raise NoAgentError(f"{file}: cannot be read by this version: {error}") from error
    newest = partial(store.load_latest, warn=_ignore, with_beside=False)  # the network is all that plays
    found = store.load(checkpoint.with_suffix(".json")) if checkpoint else newest()
    if found is None:
        raise NoAgentError(f"{directory}: has no checkpoint yet; one is written when the run stops, and now and then")
    return Run(directory=directory, config=config, manifest=found[0], state=found[1])


def load_agent(run: Run, spaces: Spaces) -> Agent:
    """The agent for environments of `spaces`. Raises CheckpointError when it was trained on other ones."""
    config = run.config
    seen = observing(config.environment, spaces.shape, spaces.dtype, spaces.num_categories)
    precision = choose_precision(config.learner.precision)
    policy = build_playing(
        config.algorithm.parameters, seen.network_input, spaces.num_actions, seed=config.seed, precision=precision
    )
    try:
        policy.network.load_state_dict(run.state["network"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{run.directory}: its checkpoint at {run.manifest.step} steps does not fit {config.environment.id}"
        ) from error
    return Agent(policy=policy, stack=seen.stack, dtype=seen.dtype)


class Player:
    """Plays with n environments at once. Lane i plays the episodes it is told to, one after another."""

    def __init__(self, agent: Agent, batch: EnvironmentBatch, lanes: int, *, seed: int, greedy: bool) -> None:
        """`seed` is the job's; `greedy` plays as well as the agent can, otherwise it explores as in training."""
        self._agent = agent
        self._batch = batch
        self._seed = seed
        self._greedy = greedy
        self._stacked = np.zeros((lanes, *agent.stack.stacked_shape), agent.dtype)
        self._previous = np.zeros_like(self._stacked)
        self.episode = np.zeros(lanes, np.int64)
        self.step_number = np.zeros(lanes, np.int64)
        self.total_return = np.zeros(lanes)

    def begin(self, lanes: NDArray[np.bool_], episodes: list[int]) -> Array:
        """Begin these episodes in the lanes of the mask; gives the newest observations [n, *shape]."""
        self.episode[lanes] = episodes
        self.step_number[lanes] = 0
        self.total_return[lanes] = 0.0
        newest = self._batch.reset(lanes, self.seeds(episodes))
        for lane in np.flatnonzero(lanes):
            one = slice(lane, lane + 1)
            self._agent.stack.start(newest[one], self._stacked[one])
        return newest

    def seeds(self, episodes: list[int]) -> NDArray[np.int64]:
        """What these episodes are reset with."""
        return np.array([episode_seed(self._seed, EVALUATION_SLOT + episode, 0) for episode in episodes], np.int64)

    def choose(self) -> NDArray[np.int32]:
        """The policy's actions [n] for the observations at hand."""
        slots = EVALUATION_SLOT + self.episode
        uniform = np.array(
            [
                uniforms(self._seed, [slot], step)[0]
                for slot, step in zip(slots.tolist(), self.step_number.tolist(), strict=True)
            ],
            np.float32,
        )
        observation = torch.from_numpy(self._stacked)
        action = self._agent.policy.play(observation, torch.from_numpy(uniform), greedy=self._greedy)
        return action.numpy().astype(np.int32)

    def step(self, action: NDArray[np.int32]) -> tuple[Array, NDArray[np.bool_]]:
        """The newest observations [n, *shape], and which episodes [n] have ended with them."""
        step = self._batch.step(action)
        self.step_number += 1
        self.total_return += step.reward
        self._stacked, self._previous = self._previous, self._stacked
        self._agent.stack.advance(self._previous, step.observation, self._stacked)
        return step.observation, step.terminated | step.truncated


def play(
    agent: Agent,
    environment: EnvironmentConfig,
    *,
    episodes: int,
    lanes: int,
    seed: int,
    greedy: bool,
    max_steps: int,
    told: Callable[[Game], None],
) -> list[Game]:
    """Play episodes 0 to `episodes` - 1 to their ends, `lanes` at a time, and give them in that order.

    Every episode that is begun counts, so short ones are not favoured. `told` hears of each as it ends.
    """
    batch = make_batch(environment, lanes)
    try:
        return _play(
            Player(agent, batch, lanes, seed=seed, greedy=greedy), episodes=episodes, max_steps=max_steps, told=told
        )
    finally:
        batch.close()


def _play(player: Player, *, episodes: int, max_steps: int, told: Callable[[Game], None]) -> list[Game]:
    lanes = len(player.episode)
    games: dict[int, Game] = {}
    begun = lanes
    player.begin(np.ones(lanes, np.bool_), list(range(lanes)))
    while len(games) < episodes:
        _, ended = player.step(player.choose())
        over = ended | (player.step_number >= max_steps)
        if not over.any():
            continue
        for lane in np.flatnonzero(over):
            number = int(player.episode[lane])
            if number < episodes:
                game = Game(episode_return=float(player.total_return[lane]), length=int(player.step_number[lane]))
                games[number] = game
                told(game)
        count = int(np.count_nonzero(over))
        player.begin(over, list(range(begun, begun + count)))
        begun += count
    return [games[number] for number in range(episodes)]


def in_colour(environment: EnvironmentConfig) -> EnvironmentConfig:
    """The same Atari game at the console's own size and in colour: the same seeds and actions give the same game."""
    atari = replace(environment.atari, grayscale=False, height=210, width=160)
    return replace(environment, atari=atari)


def _ignore(text: str) -> None:
    """An older whole checkpoint serves as well; what was damaged is the next run's to say."""
