"""RMSProp with epsilon inside the square root, as the asynchronous methods' authors and the paper's code have it."""

from __future__ import annotations

from typing import Any

import torch

CHUNK = 1 << 16
"""Elements worked on at a time: what the rule touches (1 MiB) stays in a core's cache between its operations."""


class RMSProp:
    """s <- rho s + (1 - rho) g^2;  p <- p - lr g / sqrt(s + epsilon)   (Mnih et al. 2016, equation S2)."""

    def __init__(self, values: torch.Tensor, gradients: torch.Tensor, *, rho: float, epsilon: float) -> None:
        self._rho = rho
        self._epsilon = epsilon
        self._mean_square = torch.zeros_like(values)
        self._scratch = torch.empty(CHUNK, device=values.device)
        self._chunks = list(
            zip(*(torch.split(flat, CHUNK) for flat in (values, gradients, self._mean_square)), strict=True)
        )

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        for values, gradients, mean_square in self._chunks:
            mean_square.mul_(self._rho).addcmul_(gradients, gradients, value=1 - self._rho)
            scratch = self._scratch[: len(values)]
            torch.add(mean_square, self._epsilon, out=scratch).rsqrt_()
            values.addcmul_(gradients, scratch, value=-learning_rate)

    def state_dict(self) -> dict[str, Any]:
        return {"mean_square": self._mean_square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._mean_square.copy_(state["mean_square"])
