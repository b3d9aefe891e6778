"""Clipping of gradients by their global norm (Pascanu et al. 2013)."""

from __future__ import annotations

import torch

NORM_EPSILON = 1e-6
"""As torch.nn.utils.clip_grad_norm_: a zero gradient stays finite."""


@torch.no_grad()
def clip_by_global_norm(gradients: torch.Tensor, max_norm: float) -> torch.Tensor:
    """Scale the flat `gradients` in place to at most `max_norm`; gives the norm they had, without a host wait."""
    norm: torch.Tensor = torch.linalg.vector_norm(gradients)
    if gradients.device.type == "cpu" and float(norm) + NORM_EPSILON <= max_norm:
        return norm  # one pass over all gradients less, and the same bits
    gradients.mul_((max_norm / (norm + NORM_EPSILON)).clamp(max=1.0))
    return norm
