"""RMSProp with epsilon inside the square root, as the asynchronous methods' authors and the paper's code have it."""

from __future__ import annotations

from typing import Any

import torch

from .adam import Moments
from .flat import Flat

PAST_BIAS_CORRECTION = 1e6
"""A step count at which Adam's correction 1 - rho^step is 1 in float32, for any rho up to 0.99999."""


class RMSProp:
    """u <- rho u + (1 - rho) (g^2 + epsilon);  p <- p - lr g / sqrt(u)    with u = s + epsilon

    Mnih et al. 2016, equation S2. The rule is Adam's without first moment, bias correction and outer epsilon, so
    torch's fused Adam does it in one pass over the parameters; as five elementwise operations it takes twice as long.
    """

    def __init__(self, flat: Flat, *, rho: float, epsilon: float) -> None:
        assert 0 < rho <= 0.99999, "the bias correction would not vanish"
        self._flat = flat
        self._rho = rho
        self._epsilon = epsilon
        self._moments = Moments(flat)
        self._moments.second.fill_(epsilon)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        moments = self._moments
        moments.step_count.fill_(PAST_BIAS_CORRECTION)
        moments.second.add_((1 - self._rho) * self._epsilon / self._rho)
        moments.step(self._flat, learning_rate, beta_1=0.0, beta_2=self._rho, epsilon=0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"mean_square": self._moments.second}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._moments.second.copy_(state["mean_square"])
