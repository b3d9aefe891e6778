"""How many groups the slots alternate in, when the job leaves it open."""

from __future__ import annotations

from stepstream_trainer.config import LearnerConfig

WORTH_HALVING = 64
"""Slots from which half a batch still infers at nearly the rate of a whole one (benchmarks/bench_network.py)."""


def number_of_groups(learner: LearnerConfig) -> int:
    """A function of the job alone, so that one job file gives the same batches, hence the same bits, everywhere.

    With simulators on the learner's own processors two groups of few slots lose: half a batch costs nearly as much
    inference time as a whole one, and there is nobody to step meanwhile.
    """
    if learner.groups != "Auto":
        return learner.groups
    return 2 if learner.environments >= WORTH_HALVING and learner.environments % 2 == 0 else 1
