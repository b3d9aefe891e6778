"""Adam (Kingma & Ba 2015) on a network's flat parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .flat import FlatParameters


class Adam:
    """torch's fused rule, one call a step. `epsilon` is added to the root."""

    def __init__(self, flat: FlatParameters, *, epsilon: float) -> None:
        self._flat = flat
        parameter = nn.Parameter(flat.values)
        parameter.grad = flat.gradients
        learning_rate = torch.zeros((), device=flat.values.device)
        self._adam = torch.optim.Adam([parameter], lr=learning_rate, eps=epsilon, fused=True)

    def step(self, learning_rate: float) -> None:
        self._adam.param_groups[0]["lr"].fill_(learning_rate)
        self._adam.step()
        self._flat.changed()

    def state_dict(self) -> dict[str, Any]:
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state)
