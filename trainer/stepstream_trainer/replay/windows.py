"""n-step returns and stacks of sampled steps, rebuilt from the ring. N samples, n steps of return, D depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.replay.ring import STEPPED, TERMINAL, Ints, Mask, Ring


@dataclass(frozen=True, kw_only=True, slots=True)
class Returns:
    """What the n steps from each sampled row came to."""

    return_N: NDArray[np.float32]
    bootstrap_N: NDArray[np.float32]
    """discount ** steps taken; 0 where the return ended."""
    next_row_N: Ints
    """Whose stack the return bootstraps from."""
    terminal_N: Mask


def n_step_returns(ring: Ring, slot_N: Ints, row_N: Ints, discount: float) -> Returns:
    """Of steps that can be sampled: the rewards up to the first TERMINAL step, open row, or n of them."""
    row_Nn = row_N[:, np.newaxis] + np.arange(ring.n_step)
    position_Nn = ring.positions(slot_N[:, np.newaxis], row_Nn)
    flags_Nn = ring.flags[position_Nn]
    stepped_Nn, terminal_Nn = (flags_Nn & STEPPED) != 0, (flags_Nn & TERMINAL) != 0
    goes_on_Nn = np.logical_and.accumulate(stepped_Nn & ~terminal_Nn, axis=1)
    taken_Nn = stepped_Nn.copy()
    taken_Nn[:, 1:] &= goes_on_Nn[:, :-1]
    reward_Nn = np.where(taken_Nn, ring.reward[position_Nn], np.float32(0))
    steps_N = np.count_nonzero(taken_Nn, axis=1)
    terminal_N = np.any(taken_Nn & terminal_Nn, axis=1)
    return Returns(
        return_N=(reward_Nn * discount ** np.arange(ring.n_step)).sum(axis=1).astype(np.float32),
        bootstrap_N=np.where(terminal_N, 0.0, discount**steps_N).astype(np.float32),
        next_row_N=row_N + steps_N,
        terminal_N=terminal_N,
    )


def stack_positions(ring: Ring, slot_N: Ints, row_N: Ints, *, blank_N: Mask | None = None) -> Ints:
    """[N, D], oldest first: where the frames of these rows' stacks lie.

    Frames before an episode's first, and all of a stack that is `blank`, are the store's frame of zeros.
    """
    older_N = ring.older[ring.positions(slot_N, row_N)].astype(np.int64)
    if blank_N is not None:
        older_N = np.where(blank_N, -1, older_N)
    back_D = np.arange(ring.depth - 1, -1, -1)
    position_ND = ring.positions(slot_N[:, np.newaxis], row_N[:, np.newaxis] - back_D)
    zeros = ring.rows_per_slot * ring.num_slots
    return np.where(back_D <= older_N[:, np.newaxis], position_ND, zeros)
