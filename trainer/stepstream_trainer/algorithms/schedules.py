"""How step sizes and clip ranges change: over a job, and with the batch size."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.config import A2CParameters, LearningRateScaling, PPOParameters, QLearningParameters

KL_TOLERANCE = 2.0
FACTOR_STEP = 1.5
FACTOR_LIMIT = 32.0
"""From 2.5e-4 to about 1e-2 and 1e-5, near rl_games' own limits."""


def learning_rate(parameters: A2CParameters | PPOParameters, *, batch_size: int, progress: float) -> float:
    """The optimiser's step size for batches of `batch_size` samples, `progress` [0, 1] of the way through the job."""
    scaled = scaled_learning_rate(
        parameters.learning_rate,
        batch_size=batch_size,
        reference_batch_size=parameters.reference_batch_size,
        scaling=parameters.learning_rate_scaling,
    )
    return annealed(scaled, progress=progress, anneal=parameters.anneal)


def q_learning_rate(parameters: QLearningParameters) -> float:
    """The optimiser's step size for the job's batches."""
    return scaled_learning_rate(
        parameters.learning_rate,
        batch_size=parameters.batch_size,
        reference_batch_size=parameters.reference_batch_size,
        scaling=parameters.learning_rate_scaling,
    )


def epsilons(
    parameters: QLearningParameters, global_slots: NDArray[np.uint64], *, num_slots: int, steps: int
) -> NDArray[np.float32]:
    """Each slot's probability of a random action, `steps` steps into the job; `num_slots` are all learners' slots.

    It falls linearly from 1 to the slot's final value. Where the job names a lowest final value, slots end between it
    and `final_epsilon`, at equal ratios, as in Stooke & Abbeel 2019 (rlpyt).
    """
    highest, lowest = parameters.final_epsilon, parameters.lowest_final_epsilon
    final = np.full(len(global_slots), highest)
    if lowest is not None and num_slots > 1:
        final = highest * (lowest / highest) ** (np.asarray(global_slots, np.float64) / (num_slots - 1))
    fraction = min(1.0, steps / parameters.epsilon_decay_steps)
    return np.asarray(1.0 + fraction * (final - 1.0), np.float32)


def importance_exponent(parameters: QLearningParameters, progress: float) -> float:
    """Beta of prioritised replay: linearly to 1 as `progress` goes from 0 to 1 (Schaul et al. 2016, section 3.4)."""
    return parameters.importance_exponent + progress * (1.0 - parameters.importance_exponent)


def updates_due(intensity: Fraction, *, steps: int, learning_starts: int, batch_size: int) -> int:
    """Updates that a job has made by `steps`, if each step beyond `learning_starts` is learned from `intensity` times.

    In exact arithmetic: what is due never drifts, whatever the iterations and resumes that it is made in.
    """
    return math.floor(intensity * max(0, steps - learning_starts) / batch_size)


def adapted(factor: float, *, kl: float, target_kl: float) -> float:
    """The learning rate's factor after an epoch that moved the policy by `kl`; the next one should by `target_kl`.

    The rule of rl_games' adaptive schedule; Schulman et al. 2017, section 4, adapts a penalty by the same comparison.
    """
    if kl > KL_TOLERANCE * target_kl:
        factor /= FACTOR_STEP
    elif kl < target_kl / KL_TOLERANCE:
        factor *= FACTOR_STEP
    return min(max(factor, 1 / FACTOR_LIMIT), FACTOR_LIMIT)


def annealed(initial: float, *, progress: float, anneal: bool) -> float:
    """`initial`, or what is left of it when it falls linearly to 0 as `progress` goes from 0 to 1."""
    return initial * (1.0 - progress) if anneal else initial


def scaled_learning_rate(
    learning_rate: float, *, batch_size: int, reference_batch_size: int, scaling: LearningRateScaling
) -> float:
    """Sqrt keeps a step's noise the same as the batch grows; Linear its mean over an epoch (Goyal et al. 2017)."""
    ratio = batch_size / reference_batch_size
    match scaling:
        case LearningRateScaling.None_:
            return learning_rate
        case LearningRateScaling.Sqrt:
            return learning_rate * math.sqrt(ratio)
        case LearningRateScaling.Linear:
            return learning_rate * ratio
