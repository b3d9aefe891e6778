"""ALE/* environments through ale-py's native vector environment: emulator threads without Python between them."""

from __future__ import annotations

import difflib
import re

import ale_py
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray

from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.simulator.environments import Array, EnvironmentRefusedError, Mask, Spaces, Step

ID_PATTERN = re.compile(r"^ALE/([A-Za-z0-9]+)-v5$")


class AtariBatch:
    """n games. Frames are the newest alone, rewards unclipped; lives are watched, never ended on."""

    def __init__(self, config: EnvironmentConfig, size: int) -> None:
        """Raises EnvironmentRefusedError when there is no such game."""
        atari = config.atari
        self._batch = AtariVectorEnv(
            rom_of(config.id),
            size,
            num_threads=min(size, usable_cores()),
            max_num_frames_per_episode=atari.max_episode_steps,
            repeat_action_probability=float(atari.sticky_action_probability),
            img_height=atari.height,
            img_width=atari.width,
            grayscale=atari.grayscale,
            stack_num=1,
            frameskip=atari.frame_skip,
            maxpool=atari.max_pool,
            noop_max=atari.noop_max,
            use_fire_reset=atari.fire_reset,
            reward_clipping=False,
            full_action_space=bool(config.kwargs.get("full_action_space", False)),
        )
        colours = () if atari.grayscale else (3,)
        self.spaces = Spaces(
            shape=(atari.height, atari.width, *colours),
            dtype=np.dtype(np.uint8),
            num_actions=len(self._batch.ale.get_action_set()),
            num_categories=0,
        )
        self._size = size
        self._lives = np.zeros(size, np.int32)
        self._begun = False

    def reset(self, mask: Mask, seeds: NDArray[np.int64]) -> Array:
        if not self._begun:
            return self._reset_all(mask, seeds)
        observation, info = self._batch.reset(seed=seeds, options={"reset_mask": mask})
        self._lives[mask] = info["lives"][mask]
        return self._newest(observation)

    def step(self, action: NDArray[np.int32]) -> Step:
        observation, reward, terminated, truncated, info = self._batch.step(action)
        lives = info["lives"]
        life_lost = (lives < self._lives) & ~terminated & ~truncated
        self._lives = lives
        return Step(
            observation=self._newest(observation),
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            life_lost=life_lost,
        )

    def close(self) -> None:
        self._batch.close()

    def _reset_all(self, mask: Mask, seeds: NDArray[np.int64]) -> Array:
        """The first reset must be of all games; those not asked for begin with any seed."""
        all_seeds = np.zeros(self._size, np.int64)
        all_seeds[mask] = seeds
        observation, info = self._batch.reset(seed=all_seeds)
        self._lives = info["lives"].copy()
        self._begun = True
        return self._newest(observation)

    def _newest(self, observation: Array) -> Array:
        """[n, 1, H, W(, C)] without the stack that is none."""
        return observation[:, 0]


def rom_of(environment_id: str) -> str:
    """`ALE/SpaceInvaders-v5` -> `space_invaders`. Raises EnvironmentRefusedError naming what is close."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    games = {"".join(word.capitalize() for word in rom.split("_")): rom for rom in roms.get_all_rom_ids()}
    match = ID_PATTERN.match(environment_id)
    if match and match[1] in games:
        return games[match[1]]
    name = match[1] if match else environment_id.removeprefix("ALE/").removesuffix("-v5")
    close = difflib.get_close_matches(name, games, n=1, cutoff=0.5)
    hint = f"; did you mean ALE/{close[0]}-v5?" if close else "; an Atari game is written ALE/Pong-v5"
    raise EnvironmentRefusedError(f"spec.environment.id: there is no environment {environment_id}{hint}")
