"""All randomness of a job, as functions of its seed: nothing depends on the order in which anything happened.

Both functions draw from Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), a
counter-based generator: a block of four 32-bit words is a function of a 128-bit counter and a 64-bit key. The counter
here is (step or episode, global slot), the key (job seed, purpose).
"""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]
"""32-bit words, each in a 64-bit element so that products do not overflow."""

_ROUNDS: Final = 10
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))  # table 2 of the paper, as are the Weyl constants
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_LOW: Final = np.uint64(0xFFFFFFFF)
_WORD_BITS: Final = np.uint64(32)


class _Purpose(IntEnum):
    """Second word of the key: keeps the two uses of one job seed apart."""

    ACTIONS = 0
    EPISODES = 1


def episode_seed(job_seed: int, global_slot: int, number: int) -> int:
    """A slot's seed number `number`, in [0, 2**31): of an episode, or of as many as an environment draws from one."""
    word = _first_word(job_seed, _Purpose.EPISODES, high=np.uint64(global_slot), low=np.uint64(number))
    return int(word) >> 1


def uniforms(job_seed: int, global_slots: ArrayLike, steps: ArrayLike) -> NDArray[np.float32]:
    """Numbers in [0, 1), one for each step and slot: [B] for one step, [T, B] for T of them.

    `global_slots` [B]; `steps` [T] or a scalar counts a slot's steps since the job began. Multiples of 2**-24, so that
    every value is exact in float32 and 1.0 is never reached.
    """
    low = np.asarray(steps, np.uint64)[..., np.newaxis]
    word = _first_word(job_seed, _Purpose.ACTIONS, high=np.asarray(global_slots, np.uint64), low=low)
    return (word >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """The block of four words that belongs to each counter; the counter's words broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _WORD_BITS) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _WORD_BITS) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def _first_word(job_seed: int, purpose: _Purpose, *, high: ArrayLike, low: ArrayLike) -> Words:
    """Of the block at the counter (low, high), 64 bits each."""
    assert 0 <= job_seed < 2**32
    low_words, high_words = np.asarray(low, np.uint64), np.asarray(high, np.uint64)
    counter = (low_words & _LOW, low_words >> _WORD_BITS, high_words & _LOW, high_words >> _WORD_BITS)
    return philox4x32(counter, (job_seed, int(purpose)))[0]
