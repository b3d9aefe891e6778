"""What Q-learning's estimates are drawn to, as functions of a batch. N samples, A actions, K atoms; float32 throughout.

`return_N` and `bootstrap_N` are those of `batch.Transitions`.
"""

from __future__ import annotations

import torch

MOST_PAIRS = 2**24
"""Of atoms of all samples, whose shares are in memory at a time: 64 MiB."""


def best_actions(value_NA: torch.Tensor) -> torch.Tensor:
    """[N], the first of equals."""
    return value_NA.argmax(-1)


def taken(output_NA: torch.Tensor, action_N: torch.Tensor) -> torch.Tensor:
    """What belongs to each sample's action: [N] of [N, A], [N, K] of [N, A, K]."""
    return output_NA[torch.arange(len(action_N), device=action_N.device), action_N]


def value_targets(return_N: torch.Tensor, bootstrap_N: torch.Tensor, next_value_N: torch.Tensor) -> torch.Tensor:
    """n-step targets [N] (Watkins 1989; Sutton 1988)."""
    return return_N + bootstrap_N * next_value_N


def support(minimum: float, maximum: float, atoms: int, device: torch.device) -> torch.Tensor:
    """The returns [K] that a distribution's atoms stand for."""
    return torch.linspace(minimum, maximum, atoms, device=device)


def expected_values(probability_NAK: torch.Tensor, support_K: torch.Tensor) -> torch.Tensor:
    """Means [N, A] of the distributions."""
    return (probability_NAK * support_K).sum(-1)


def projected(
    return_N: torch.Tensor, bootstrap_N: torch.Tensor, probability_NK: torch.Tensor, support_K: torch.Tensor
) -> torch.Tensor:
    """The shifted and shrunk distributions [N, K], brought back to the atoms: Bellemare et al. 2017, equation 7.

    An atom's mass goes to its two neighbours, in proportion to how near they are; beyond the edges, to the edge. As a
    sum over all pairs of atoms, because scattered additions on a GPU come in another order each time, and of no more
    samples at a time than MOST_PAIRS allows.
    """
    count = max(1, MOST_PAIRS // len(support_K) ** 2)
    pieces = [slice(first, first + count) for first in range(0, len(return_N), count)]
    return torch.cat([_projected(return_N[n], bootstrap_N[n], probability_NK[n], support_K) for n in pieces])


def _projected(
    return_N: torch.Tensor, bootstrap_N: torch.Tensor, probability_NK: torch.Tensor, support_K: torch.Tensor
) -> torch.Tensor:
    lowest, spacing = support_K[0], support_K[1] - support_K[0]
    moved_NK = return_N.unsqueeze(-1) + bootstrap_N.unsqueeze(-1) * support_K
    position_NK = ((moved_NK - lowest) / spacing).clamp(0, len(support_K) - 1)
    atom_K = torch.arange(len(support_K), device=support_K.device)
    share_NKK = (1 - (position_NK.unsqueeze(-1) - atom_K).abs()).clamp(min=0)  # from atom, to atom
    return torch.einsum("nk,nkj->nj", probability_NK, share_NKK)
