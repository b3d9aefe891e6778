"""Any Gymnasium environment, by its id or by `module:Class`, through Gymnasium's vector API."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.simulator.environments import Array, EnvironmentRefusedError, Mask, Spaces, Step

SUPPORTED = "supported are Box and Discrete observations with Discrete actions"


class GymnasiumBatch:
    """n environments stepped one after another."""

    def __init__(self, config: EnvironmentConfig, size: int) -> None:
        """Raises EnvironmentRefusedError when the environment cannot be made, or its spaces are not supported."""
        make = _maker(config)
        try:
            self._batch = SyncVectorEnv([make] * size, autoreset_mode=AutoresetMode.DISABLED)
        except EnvironmentRefusedError:
            raise
        except Exception as error:
            raise EnvironmentRefusedError(
                f"spec.environment: {config.id} could not be made: {type(error).__name__}: {error}"
            ) from error
        self.spaces = spaces_of(config.id, self._batch.single_observation_space, self._batch.single_action_space)
        self._first_action = int(getattr(self._batch.single_action_space, "start", 0))
        self._no_life_lost = np.zeros(size, np.bool_)
        self._begun = False

    def reset(self, mask: Mask, seeds: NDArray[np.int64]) -> Array:
        all_seeds: list[int | None] = [None] * len(mask)
        for index, seed in zip(np.flatnonzero(mask), seeds, strict=True):
            all_seeds[index] = int(seed)
        options = {"reset_mask": mask.copy()} if self._begun else None
        observation, _ = self._batch.reset(seed=all_seeds, options=options)
        self._begun = True
        return self._as_array(observation)

    def step(self, action: NDArray[np.int32]) -> Step:
        observation, reward, terminated, truncated, _ = self._batch.step(action + self._first_action)
        return Step(
            observation=self._as_array(observation),
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated & ~terminated,
            life_lost=self._no_life_lost,
        )

    def picture(self) -> Array:
        """The first environment as [height, width, 3]; for environments made with `render_mode: rgb_array`."""
        try:
            picture = self._batch.envs[0].render()
        except gymnasium.error.Error as error:
            raise EnvironmentRefusedError(f"spec.environment: no picture can be made: {error}") from error
        if not isinstance(picture, np.ndarray):
            raise EnvironmentRefusedError("spec.environment: no picture can be made: it has no rgb_array rendering")
        return picture

    def close(self) -> None:
        self._batch.close()

    def _as_array(self, observation: Any) -> Array:
        return np.asarray(observation, self.spaces.dtype)


def spaces_of(environment_id: str, observation: Space[Any], action: Space[Any]) -> Spaces:
    """Raises EnvironmentRefusedError for spaces that are not supported."""
    if not isinstance(action, Discrete):
        raise EnvironmentRefusedError(f"spec.environment.id: {environment_id} has actions {action}; {SUPPORTED}")
    if isinstance(observation, Discrete):
        return Spaces(shape=(), dtype=np.dtype(np.int64), num_actions=int(action.n), num_categories=int(observation.n))
    if not isinstance(observation, Box):
        raise EnvironmentRefusedError(
            f"spec.environment.id: {environment_id} has {type(observation).__name__} observations; {SUPPORTED}"
        )
    return Spaces(
        shape=observation.shape, dtype=np.dtype(observation.dtype), num_actions=int(action.n), num_categories=0
    )


def _maker(config: EnvironmentConfig) -> Callable[[], gymnasium.Env[Any, Any]]:
    if config.entry_point is None:
        return lambda: gymnasium.make(config.id, **config.kwargs)
    constructor = load_entry_point(config.entry_point)
    return lambda: constructor(**config.kwargs)


def load_entry_point(entry_point: str) -> Callable[..., gymnasium.Env[Any, Any]]:
    """The class that `module:Class` names. Raises EnvironmentRefusedError."""
    module_name, _, class_name = entry_point.partition(":")
    try:
        return getattr(importlib.import_module(module_name), class_name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise EnvironmentRefusedError(
            f"spec.environment.entryPoint: {entry_point} cannot be loaded: {error}; it must be module:Class of a "
            "module installed in the simulators' image"
        ) from error
