"""From a network's gradients to its new parameters: averaged where learners step together, clipped, and stepped by."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from .clipping import clip_by_global_norm
from .flat import FlatParameters
from .together import Alone, Together


class Optimiser(Protocol):
    """Changes a network's flat parameters by its flat gradients."""

    def step(self, learning_rate: float) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Descent(Protocol):
    """The way down from the gradients at hand."""

    def step(self, learning_rate: float) -> torch.Tensor:
        """Change the parameters; gives the gradients' norm before it was clipped, without a host wait."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class ClippedDescent:
    """Average, clip by the global norm, step: in this order, so that all who step together step alike."""

    def __init__(
        self, flat: FlatParameters, optimiser: Optimiser, *, max_grad_norm: float, together: Together | None = None
    ) -> None:
        self._flat = flat
        self._optimiser = optimiser
        self._max_grad_norm = max_grad_norm
        self._together = together or Alone()

    def step(self, learning_rate: float) -> torch.Tensor:
        self._together.average(self._flat.gradients)
        norm = clip_by_global_norm(self._flat.gradients, self._max_grad_norm)
        self._optimiser.step(learning_rate)
        return norm

    def state_dict(self) -> dict[str, Any]:
        return self._optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimiser.load_state_dict(state)
