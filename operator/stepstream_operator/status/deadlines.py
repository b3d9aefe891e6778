"""When time alone will change something about a job."""

from datetime import datetime, timedelta
from typing import Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.status.lifecycle import active_deadline, explanation_deadline, pending_deadline
from stepstream_operator.status.observed import Observed, parse_time

FIRST_DELAY_SECONDS: Final = 10
MAX_DELAY_SECONDS: Final = 300


def expiry(job: TrainingJob, status: JobStatus) -> datetime | None:
    """When a finished job is to be deleted; None for one that runs or is kept."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None or not status.finished or status.completion_time is None:
        return None
    return parse_time(status.completion_time) + timedelta(seconds=ttl)


def learners_due(status: JobStatus) -> datetime | None:
    """When the current attempt may start: the second restart waits 10 s, each later one twice as long."""
    failure = status.failure
    if failure is None or failure.time is None or failure.attempt != status.attempt - 1 or status.restarts < 2:
        return None
    seconds = min(FIRST_DELAY_SECONDS * 2 ** (status.restarts - 2), MAX_DELAY_SECONDS)
    return parse_time(failure.time) + timedelta(seconds=seconds)


def next_deadline(job: TrainingJob, observed: Observed, now: datetime) -> datetime | None:
    """The next moment after `now` to look at the job again though nothing happened to it."""
    if observed.previous.finished:
        return expiry(job, observed.previous)
    status = observed.previous
    moments = (
        active_deadline(job, status),
        pending_deadline(job, observed),
        learners_due(status),
        explanation_deadline(observed),
    )
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
