"""Any Gymnasium environment, by its id or by `module:Class`, through Gymnasium's vector API."""

import importlib
from collections.abc import Callable
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.rows import Array, Spaces, refused_choices, refused_observation
from stepstream_trainer.simulator.environments import ANY_EPISODE, EnvironmentRefusedError, Mask, Step

SUPPORTED: Final = "supported are Box and Discrete observations with Discrete actions"

Maker = Callable[[], gymnasium.Env[Any, Any]]


class GymnasiumBatch:
    """n environments, stepped one after another. Each episode has a seed of its own."""

    episodes_per_seed = 1

    def __init__(self, config: EnvironmentConfig, size: int) -> None:
        """Raises EnvironmentRefusedError when the environment cannot be made, or its spaces are not supported."""
        make = maker_of(config)
        probe = make()
        self.spaces = spaces_of(config.id, probe.observation_space, probe.action_space)
        probe.close()
        self._batch = SyncVectorEnv([make] * size, autoreset_mode=AutoresetMode.DISABLED, copy=False)
        actions, observations = self._batch.single_action_space, self._batch.single_observation_space
        self._first_action = int(actions.start) if isinstance(actions, Discrete) else 0
        self._first_category = int(observations.start) if isinstance(observations, Discrete) else 0
        self._no_life_lost = np.zeros(size, np.bool_)

    def reset(self, mask: Mask, seeds: NDArray[np.int64], numbers: NDArray[np.int64] | int = 0) -> Array:
        assert not np.any(numbers)
        all_seeds: list[int | None] = [None] * len(mask)
        for index, seed in zip(np.flatnonzero(mask), seeds.tolist(), strict=True):
            all_seeds[index] = None if seed == ANY_EPISODE else seed
        observation, _ = self._batch.reset(seed=all_seeds, options={"reset_mask": mask.copy()})
        return self._sent(observation)

    def step(self, action: NDArray[np.int32]) -> Step:
        observation, reward, terminated, truncated, _ = self._batch.step(action + self._first_action)
        return Step(
            observation=self._sent(observation),
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

    def _sent(self, observation: Any) -> Array:
        """A copy, categories counted from 0."""
        sent: Array = np.array(observation, self.spaces.dtype)
        return sent - self._first_category if self._first_category else sent


def spaces_of(environment_id: str, observation: Space[Any], action: Space[Any]) -> Spaces:
    """Raises EnvironmentRefusedError for spaces that are not supported."""
    if not isinstance(action, Discrete):
        raise EnvironmentRefusedError(f"spec.environment.id: {environment_id} has {_kind(action)} actions; {SUPPORTED}")
    num_categories = int(observation.n) if isinstance(observation, Discrete) else 0
    if refusal := refused_choices(int(action.n), num_categories):
        raise EnvironmentRefusedError(f"spec.environment.id: {environment_id} has {refusal}")
    if isinstance(observation, Discrete):
        return Spaces(shape=(), dtype=np.dtype(np.int64), num_actions=int(action.n), num_categories=num_categories)
    if isinstance(observation, Box):
        if refusal := refused_observation(observation.shape, np.dtype(observation.dtype)):
            raise EnvironmentRefusedError(f"spec.environment.id: {environment_id} has {refusal}")
        return Spaces(
            shape=observation.shape, dtype=np.dtype(observation.dtype), num_actions=int(action.n), num_categories=0
        )
    raise EnvironmentRefusedError(
        f"spec.environment.id: {environment_id} has {_kind(observation)} observations; {SUPPORTED}"
    )


def maker_of(config: EnvironmentConfig) -> Maker:
    """What makes one environment. Raises EnvironmentRefusedError, then or when called."""
    if config.entry_point is None:
        return lambda: _make_registered(config)
    constructor = load_entry_point(config.entry_point)
    return lambda: _make_own(config, constructor)


def load_entry_point(entry_point: str) -> Callable[..., Any]:
    """The class that `module:Class` names. Raises EnvironmentRefusedError."""
    module_name, _, class_name = entry_point.partition(":")
    try:
        constructor: Callable[..., Any] = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # whatever a stranger's module raises is the user's to know
        said = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise EnvironmentRefusedError(
            f"spec.environment.entryPoint: {entry_point} cannot be loaded: {said}; it must be module:Class of a "
            "module in the simulators' image"
        ) from error
    return constructor


def _make_registered(config: EnvironmentConfig) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(config.id, disable_env_checker=True, **config.kwargs)
    except gymnasium.error.UnregisteredEnv as error:  # says what is close, or which version there is
        raise EnvironmentRefusedError(f"spec.environment.id: there is no environment {config.id}: {error}") from error
    except Exception as error:  # whatever a stranger's constructor raises is the user's to know
        raise _cannot_make(config, error) from error


def _make_own(config: EnvironmentConfig, constructor: Callable[..., Any]) -> gymnasium.Env[Any, Any]:
    try:
        environment = constructor(**config.kwargs)
    except Exception as error:
        raise _cannot_make(config, error) from error
    if not isinstance(environment, gymnasium.Env):
        raise EnvironmentRefusedError(
            f"spec.environment.entryPoint: {config.entry_point} makes a {type(environment).__name__}, "
            "which is not a gymnasium.Env"
        )
    return environment


def _cannot_make(config: EnvironmentConfig, error: Exception) -> EnvironmentRefusedError:
    return EnvironmentRefusedError(
        f"spec.environment: {config.id} could not be made: {type(error).__name__}: {error}".replace("\n", " ")
    )


def _kind(space: Space[Any]) -> str:
    """`Box` actions are what users call continuous."""
    return "continuous (Box)" if isinstance(space, Box) else type(space).__name__
