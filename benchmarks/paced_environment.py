"""An environment whose steps take a given time, and ten times that in one simulator: a straggler."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.config import contract

STRAGGLER = "-simulator-0"
TIMES_SLOWER = 10


def paced(milliseconds: float, *, straggler: bool) -> dict[str, Any]:
    """The environment of a job whose steps take so long."""
    return {
        "id": "Paced-v0",
        "entryPoint": "benchmarks.paced_environment:Paced",
        "kwargs": {"milliseconds": milliseconds, "straggler": straggler},
        "deterministic": True,
    }


class Paced(gymnasium.Env[NDArray[np.float32], int]):
    """CartPole's shapes; nothing to learn."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, milliseconds: float, straggler: bool) -> None:
        slow = straggler and os.environ.get(contract.SIMULATOR, "").endswith(STRAGGLER)
        self._seconds = milliseconds / 1000 * (TIMES_SLOWER if slow else 1)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        time.sleep(self._seconds)
        self._step += 1
        return np.full(4, action, np.float32), 1.0, self._step == 200, False, {}
