"""Environments that no library has."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from numpy.typing import NDArray


class DictObservations(gymnasium.Env[Any, Any]):
    """Observations that are a dictionary."""

    observation_space = Dict({"position": Box(-1.0, 1.0, (2,), np.float32)})
    action_space = Discrete(2)


class Counter(gymnasium.Env[NDArray[np.float64], int]):
    """Sees (seed, steps so far, latest action); is cut after `length` steps. Its actions are 5 and 6."""

    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Discrete(2, start=5)

    def __init__(self, length: int = 4, bonus: float = 0.5) -> None:
        self._length = length
        self._bonus = bonus
        self._seen = np.zeros(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._seen = np.array([-1.0 if seed is None else float(seed), 0.0, 0.0])
        return self._seen.copy(), {}

    def step(self, action: int) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        self._seen += (0.0, 1.0, 0.0)
        self._seen[2] = action
        return self._seen.copy(), self._bonus, False, bool(self._seen[1] >= self._length), {}


class Dice(gymnasium.Env[int, int]):
    """Sees 3 to 8 (Discrete, counted from 3); ends when told to (action 1)."""

    observation_space = Discrete(6, start=3)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return 3, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        return int(self.np_random.integers(3, 9)), 1.0, action == 1, False, {}


class Failing(Counter):
    """Its first step raises."""

    def step(self, action: int) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        raise RuntimeError("out of order")


class Ledger(gymnasium.Env[NDArray[np.float32], int]):
    """Sees (steps so far, latest action); a step is worth 100 times the steps before it, and its action.

    After `length` steps it ends: by action 1 as a terminal state, by 0 as one that was cut.
    """

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Discrete(2)

    def __init__(self, length: int = 7) -> None:
        self._length = length
        self._steps, self._latest = 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._steps, self._latest = 0, 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        reward = 100.0 * self._steps + action
        self._steps, self._latest = self._steps + 1, action
        ends = self._steps == self._length
        return self._seen(), reward, ends and action == 1, ends and action == 0, {}

    def _seen(self) -> NDArray[np.float32]:
        return np.array([self._steps, self._latest], np.float32)


class Confused(Counter):
    """Its first step looks for what it does not have."""

    def step(self, action: int) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        raise KeyError("goal")


class Wide(gymnasium.Env[Any, Any]):
    """Observations of more axes than can be sent."""

    observation_space = Box(0.0, 1.0, (1, 2, 3, 4, 5), np.float32)
    action_space = Discrete(2)
