"""From a network's gradients to its new parameters.

Sync     average over the learners, clip, step: all step alike
Async    clip, hand the gradients to the store that the learners share; it steps, and gives its parameters back
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch

from .clipping import clip_by_global_norm
from .flat import Flat, FlatParameters
from .together import Alone, Together


class DivergedError(Exception):
    """Training has left the numbers; one sentence for a person."""

    def __init__(self, figure: str, value: float) -> None:
        super().__init__(
            f"training has diverged: {figure} is {value}; a smaller spec.algorithm.parameters.learningRate is what "
            "helps most often"
        )


class Optimiser(Protocol):
    """Changes flat parameters by their flat gradients."""

    def step(self, learning_rate: float) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


Rule = Callable[[Flat], Optimiser]
"""The optimiser of any part of a network's parameters."""


class SharedStore(Protocol):
    """Parameters that several learners change, as one of them sees it. The loop's thread."""

    def attach(self, flat: FlatParameters, rule: Rule) -> None:
        """From now on `flat` follows the store's parameters, which change by `rule`."""

    def push(self, learning_rate: float) -> None:
        """Let the store step by `flat`'s gradients, and bring `flat` up to date."""

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's, as if nobody shared it; `flat` is brought to the same moment."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """With `flat` as it was saved beside it."""


class Descent(Protocol):
    """The way down from the gradients at hand."""

    def step(self, learning_rate: float) -> torch.Tensor:
        """Change the parameters; gives the gradients' norm before it was clipped, without a host wait."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def descent(
    flat: FlatParameters,
    rule: Rule,
    *,
    max_grad_norm: float,
    together: Together | None = None,
    store: SharedStore | None = None,
) -> Descent:
    """Of a learner that is alone, that steps `together` with others, or that shares a `store` with them."""
    if store is not None:
        return StoredDescent(flat, rule, store, max_grad_norm=max_grad_norm)
    return ClippedDescent(flat, rule(flat), max_grad_norm=max_grad_norm, together=together)


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


class StoredDescent:
    """Clip by the global norm, and let the store do the rest (Mnih et al. 2016; Stooke & Abbeel 2018)."""

    def __init__(self, flat: FlatParameters, rule: Rule, store: SharedStore, *, max_grad_norm: float) -> None:
        self._flat = flat
        self._store = store
        self._max_grad_norm = max_grad_norm
        store.attach(flat, rule)

    def step(self, learning_rate: float) -> torch.Tensor:
        """Raises DivergedError instead of spoiling what is others', too."""
        norm = clip_by_global_norm(self._flat.gradients, self._max_grad_norm)
        if not math.isfinite(size := float(norm)):
            raise DivergedError("the gradient's norm", size)
        self._store.push(learning_rate)
        return norm

    def state_dict(self) -> dict[str, Any]:
        return self._store.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._store.load_state_dict(state)
