"""RMSProp with epsilon inside the square root, as the asynchronous methods' authors and the paper's code have it."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.adam import adam

from .flat import FlatParameters

PAST_BIAS_CORRECTION = 1e6
"""A step count at which Adam's correction 1 - rho^step is 1 in float32, for any rho up to 0.99999."""


class RMSProp:
    """u <- rho u + (1 - rho) (g^2 + epsilon);  p <- p - lr g / sqrt(u)    with u = s + epsilon

    Mnih et al. 2016, equation S2. The rule is Adam's without first moment, bias correction and outer epsilon, so
    torch's fused Adam does it in one pass over the parameters; as five elementwise operations it takes twice as long.
    """

    def __init__(self, flat: FlatParameters, *, rho: float, epsilon: float) -> None:
        assert 0 < rho <= 0.99999, "the bias correction would not vanish"
        values = flat.values
        self._flat = flat
        self._rho = rho
        self._epsilon = epsilon
        self._mean_square = torch.full_like(values, epsilon)
        self._first_moment = torch.zeros_like(values)
        self._learning_rate = torch.zeros((), device=values.device)
        self._step_count = torch.zeros((), device=values.device)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self._learning_rate.fill_(learning_rate)
        self._step_count.fill_(PAST_BIAS_CORRECTION)
        self._mean_square.add_((1 - self._rho) * self._epsilon / self._rho)
        adam(
            [self._flat.values],
            [self._flat.gradients],
            [self._first_moment],
            [self._mean_square],
            [],
            [self._step_count],
            fused=True,
            amsgrad=False,
            beta1=0.0,
            beta2=self._rho,
            lr=self._learning_rate,
            weight_decay=0.0,
            eps=0.0,
            maximize=False,
        )
        self._flat.changed()

    def state_dict(self) -> dict[str, Any]:
        return {"mean_square": self._mean_square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._mean_square.copy_(state["mean_square"])
