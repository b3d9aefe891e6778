"""How many groups the slots alternate in, when the job leaves it open, and what of the cores serves each."""

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


def acting_threads(learner: LearnerConfig, cores: int) -> int:
    """Threads of a forward pass: a group's share of the cores, since the others' simulators step meanwhile.

    With all cores for one group, torch's threads and emulators wait for each other: A2C with 64 environments in two
    groups on two shared cores made 2,209 steps/s with two threads and 2,667 with one.
    """
    return max(1, cores // number_of_groups(learner))
