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
from stepstream_trainer.simulator.environments import ANY_EPISODE, EnvironmentRefusedError, Mask, Step

ID_PATTERN: Final = re.compile(r"^ALE/([A-Za-z0-9]+)-v5$")

SUPPORTED_KWARGS: Final = ("full_action_space",)

EPISODES_PER_SEED: Final = 32
"""A reset with a seed makes ale-py load the game anew, which takes as long as some 350 steps; one without takes 15."""


class AtariBatch:
    """n games. Frames are the newest alone, rewards unclipped; lost lives are told, never ended on.

    ale-py knows no mode without autoreset; an explicit reset right after an episode's end leaves it nothing to do.
    What a reset without a seed draws is one number of no-ops: it depends on the resets since the seed alone. Sticky
    actions draw from a generator at every frame, so with them each episode has a seed of its own.
    """

    def __init__(self, config: EnvironmentConfig, size: int) -> None:
        """Raises EnvironmentRefusedError when there is no such game."""
        atari = config.atari
        sticky = float(atari.sticky_action_probability)
        self.episodes_per_seed = EPISODES_PER_SEED if sticky == 0 else 1
        self._batch = AtariVectorEnv(
            rom_of(config.id),
            size,
            num_threads=min(size, usable_cores()),
            # Counted in emulator frames from the first observation on, whatever no-ops came before.
            max_num_frames_per_episode=atari.max_episode_steps * atari.frame_skip,
            repeat_action_probability=sticky,
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
            shape=atari.frame_shape,
            dtype=np.dtype(np.uint8),
            num_actions=len(self._batch.ale.get_action_set()),
            num_categories=0,
        )
        self._observation: Array
        self._lives: NDArray[np.int32]
        self._seed = np.full(size, ANY_EPISODE, np.int64)
        self._resets = np.zeros(size, np.int64)
        """Since the seed."""
        self._unplayed = np.zeros(size, np.bool_)
        """Games that stand where their latest reset left them."""

    def reset(self, mask: Mask, seeds: NDArray[np.int64], numbers: NDArray[np.int64] | int = 0) -> Array:
        lanes, wanted = np.flatnonzero(mask), np.broadcast_to(numbers, seeds.shape)
        any_episode = seeds == ANY_EPISODE
        resets_to_come = np.where(any_episode, 1, wanted - self._resets[lanes])
        within_reach = (resets_to_come > 0) | ((resets_to_come == 0) & self._unplayed[lanes])
        anew = ~(any_episode | (within_reach & (self._seed[lanes] == seeds)))
        if anew.any():
            self._reset(lanes[anew], seeds[anew])
            resets_to_come = np.where(anew, wanted, resets_to_come)
        while (due := resets_to_come > 0).any():
            self._reset(lanes[due], None)
            resets_to_come = resets_to_come - 1
        return self._observation

    def _reset(self, lanes: NDArray[np.int64], seeds: NDArray[np.int64] | None) -> None:
        """With seeds, or each from where its generator stands."""
        mask = np.zeros(len(self._seed), np.bool_)
        mask[lanes] = True
        observation, info = self._batch.reset(seed=seeds, options={"reset_mask": mask})
        self._observation, self._lives = _newest(observation), info["lives"]
        self._unplayed[lanes] = True
        if seeds is None:
            self._resets[lanes] += 1
        else:
            self._seed[lanes], self._resets[lanes] = seeds, 0

    def step(self, action: NDArray[np.int32]) -> Step:
        observation, reward, terminated, truncated, info = self._batch.step(action)
        life_lost = (info["lives"] < self._lives) & ~terminated & ~truncated
        self._observation, self._lives = _newest(observation), info["lives"]
        self._unplayed[:] = False
        return Step(
            observation=self._observation,
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


def _newest(observation: Array) -> Array:
    """[n, 1, H, W(, C)] without the stack that is none."""
    newest: Array = observation[:, 0]
    return newest
