"""When to look at a job again though nothing that the operator follows has changed. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.status import Observed, expiry, next_deadline

REFUSED_RETRY: Final = timedelta(seconds=30)
"""A refusal (a quota, a webhook) may be lifted by somebody else without any event that the operator follows."""
MISSING_LEARNERS_RETRY: Final = timedelta(seconds=3)
CERTIFICATES_CHECK: Final = timedelta(hours=6)
CLOCK_SECONDS: Final = 0.05
"""The server's clock is known to a second: a little later is not too early."""


def seconds_until_next_look(
    job: TrainingJob, observed: Observed, now: datetime, *, tls: bool, scaling_rest: float | None
) -> float | None:
    """None where time alone changes nothing. `scaling_rest` is how long the number of simulators stays as it is: what
    learners measure may be the same afterwards, and then nothing but time says that the number may change."""
    moments = [expiry(job, observed.previous)] if observed.previous.finished else [next_deadline(job, observed, now)]
    if observed.problems:
        moments.append(now + REFUSED_RETRY)
    elif observed.missing_learners(job.spec.learners.replicas):
        moments.append(now + MISSING_LEARNERS_RETRY)
    if tls and not observed.previous.finished:
        moments.append(now + CERTIFICATES_CHECK)
    seconds = [(moment - now).total_seconds() for moment in moments if moment is not None]
    seconds += [] if scaling_rest is None else [scaling_rest]
    return max(0.0, min(seconds)) + CLOCK_SECONDS if seconds else None
