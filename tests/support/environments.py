"""Environments that no library has."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class DictObservations(gymnasium.Env[Any, Any]):
    """Observations that are a dictionary."""

    observation_space = Dict({"position": Box(-1.0, 1.0, (2,), np.float32)})
    action_space = Discrete(2)
