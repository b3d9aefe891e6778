"""Progress as a measured program reports it: one JSON line at each end of an update, and the rate read from them.

A cycle is one rollout and what is learned from it. Rates are taken from cycle end to cycle end, so that neither a half
rollout nor a half update is counted; the first cycles are left out (start-up, caches, autotuning).
"""

import json
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """`steps` agent steps had been learned from at `seconds` of the monotonic clock."""

    steps: int
    seconds: float


def report(steps: int) -> None:
    """Say on standard output that a cycle has just ended after `steps` agent steps in all."""
    print(json.dumps({"steps": steps, "seconds": time.monotonic()}), flush=True)


def parse(line: str) -> Sample | None:
    """The sample in a line of output, or None where the line is something else."""
    if not line.startswith('{"steps"'):
        return None
    fields = json.loads(line)
    return Sample(fields["steps"], fields["seconds"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """How long to measure: after `warm_up_seconds` and `warm_up_cycles`, at least `seconds` and at least `cycles`."""

    warm_up_seconds: float
    seconds: float
    warm_up_cycles: int = 1
    cycles: int = 3


def measured(samples: list[Sample], window: Window) -> list[Sample]:
    """The samples from the end of the warm-up on."""
    if not samples:
        return []
    warm = samples[0].seconds + window.warm_up_seconds
    return [sample for sample in samples[window.warm_up_cycles :] if sample.seconds >= warm]


def long_enough(samples: list[Sample], window: Window) -> bool:
    kept = measured(samples, window)
    return len(kept) > window.cycles and kept[-1].seconds - kept[0].seconds >= window.seconds


def steps_per_second(samples: list[Sample], window: Window) -> float:
    """Agent steps a second over the measured window. Raises ValueError when it holds fewer than two cycle ends."""
    kept = measured(samples, window)
    if len(kept) < 2:
        raise ValueError(f"only {len(kept)} cycles ended in the measured window")
    return (kept[-1].steps - kept[0].steps) / (kept[-1].seconds - kept[0].seconds)
