"""Adam (Kingma & Ba 2015, algorithm 1) in one pass over a network's flat parameters.

torch's function, not its class: the first step of a `torch.optim.Optimizer` imports torch's compiler, which nothing
here uses and which costs a learner some three seconds of processor time before its first update.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.adam import adam

from .flat import Flat

BETA_1, BETA_2 = 0.9, 0.999
"""Decay of the two moments, as their authors recommend."""


class Adam:
    """Steps on `flat.gradients`, in place."""

    def __init__(self, flat: Flat, *, epsilon: float) -> None:
        """`epsilon` is added to the square root."""
        self._flat = flat
        self._epsilon = epsilon
        self._moments = Moments(flat)

    def step(self, learning_rate: float) -> None:
        self._moments.step(self._flat, learning_rate, beta_1=BETA_1, beta_2=BETA_2, epsilon=self._epsilon)

    def state_dict(self) -> dict[str, Any]:
        moments = self._moments
        return {"first": moments.first, "second": moments.second, "step_count": moments.step_count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._moments.first.copy_(state["first"])
        self._moments.second.copy_(state["second"])
        self._moments.step_count.copy_(state["step_count"])


class Moments:
    """Running means of a flat gradient and of its square, and the number of steps behind them, float32."""

    def __init__(self, flat: Flat) -> None:
        self.first = torch.zeros_like(flat.values)
        self.second = torch.zeros_like(flat.values)
        self.step_count = torch.zeros((), device=flat.values.device)
        self._learning_rate = torch.zeros((), device=flat.values.device)

    @torch.no_grad()
    def step(self, flat: Flat, learning_rate: float, *, beta_1: float, beta_2: float, epsilon: float) -> None:
        """Count one step more, and make it."""
        self._learning_rate.fill_(learning_rate)
        adam(
            [flat.values],
            [flat.gradients],
            [self.first],
            [self.second],
            [],
            [self.step_count],
            fused=True,
            amsgrad=False,
            beta1=beta_1,
            beta2=beta_2,
            lr=self._learning_rate,
            weight_decay=0.0,
            eps=epsilon,
            maximize=False,
        )
        flat.changed()
