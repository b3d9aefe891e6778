"""ALE/* environments through ale-py's native vector environment: emulator threads without Python between them."""

import difflib
import re
from typing import Final

import ale_py
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray

from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.rows import Array, Spaces
from stepstream_trainer.simulator.environments import EnvironmentRefusedError, Mask, Step

ID_PATTERN: Final = re.compile(r"^ALE/([A-Za-z0-9]+)-v5$")

SUPPORTED_KWARGS: Final = ("full_action_space",)


class AtariBatch:
    """n games. Frames are the newest alone, rewards unclipped; lost lives are told, never ended on.

    ale-py knows no mode without autoreset; an explicit reset right after an episode's end leaves it nothing to do.
    """

    def __init__(self, config: EnvironmentConfig, size: int) -> None:
        """Raises EnvironmentRefusedError when there is no such game."""
        atari = config.atari
        self._batch = AtariVectorEnv(
            rom_of(config.id),
            size,
            num_threads=min(size, usable_cores()),
            # Counted in emulator frames from the first observation on, whatever no-ops came before.
            max_num_frames_per_episode=atari.max_episode_steps * atari.frame_skip,
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
            full_action_space=uses_full_action_space(config),
        )
        self.spaces = Spaces(
            shape=(atari.height, atari.width) if atari.grayscale else (atari.height, atari.width, 3),
            dtype=np.dtype(np.uint8),
            num_actions=len(self._batch.ale.get_action_set()),
            num_categories=0,
        )
        self._size = size
        self._lives: NDArray[np.int32] = np.zeros(size, np.int32)
        self._begun = False

    def reset(self, mask: Mask, seeds: NDArray[np.int64]) -> Array:
        if not self._begun:
            seeds, mask = _for_all(mask, seeds), np.ones(self._size, np.bool_)
            self._begun = True  # the first reset must be of all games; those not asked for begin with any seed
        observation, info = self._batch.reset(seed=seeds, options={"reset_mask": mask})
        self._lives = info["lives"]
        return _newest(observation)

    def step(self, action: NDArray[np.int32]) -> Step:
        observation, reward, terminated, truncated, info = self._batch.step(action)
        life_lost = (info["lives"] < self._lives) & ~terminated & ~truncated
        self._lives = info["lives"]
        return Step(
            observation=_newest(observation),
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated & ~terminated,
            life_lost=life_lost,
        )

    def close(self) -> None:
        self._batch.close()


def rom_of(environment_id: str) -> str:
    """`ALE/SpaceInvaders-v5` -> `space_invaders`. Raises EnvironmentRefusedError naming what is close."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    games = {"".join(word.capitalize() for word in rom.split("_")): rom for rom in roms.get_all_rom_ids()}
    match = ID_PATTERN.match(environment_id)
    if match and match[1] in games:
        return games[match[1]]
    name = match[1] if match else environment_id.removeprefix("ALE/").partition("-")[0]
    close = difflib.get_close_matches(name, games, n=1, cutoff=0.5)
    hint = f"did you mean ALE/{close[0]}-v5?" if close else "an Atari game is written like ALE/Pong-v5"
    raise EnvironmentRefusedError(f"spec.environment.id: there is no environment {environment_id}; {hint}")


def uses_full_action_space(config: EnvironmentConfig) -> bool:
    """Whether all 18 actions are offered in every game. Raises EnvironmentRefusedError for other arguments."""
    unknown = sorted(config.kwargs.keys() - set(SUPPORTED_KWARGS))
    if unknown:
        raise EnvironmentRefusedError(
            f"spec.environment.kwargs.{unknown[0]}: ALE/* environments take {', '.join(SUPPORTED_KWARGS)} here; "
            "preprocessing is configured in spec.environment.atari"
        )
    return bool(config.kwargs.get("full_action_space", False))


def _for_all(mask: Mask, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    all_seeds = np.zeros(len(mask), np.int64)
    all_seeds[mask] = seeds
    return all_seeds


def _newest(observation: Array) -> Array:
    """[n, 1, H, W(, C)] without the stack that is none."""
    newest: Array = observation[:, 0]
    return newest
