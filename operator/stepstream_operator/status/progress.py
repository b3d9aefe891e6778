"""How far the job is, from learners' reports; rounded so that it is written only when it says something new."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import CheckpointStatus, Progress
from stepstream_operator.status.observed import Observed, parse_time
from stepstream_operator.status.report import LearnerReport
from stepstream_operator.status.words import decimal, duration, short_count, three_digits, timestamp
from stepstream_trainer.config.fields import MAX_STEPS

MIN_INTERVAL: Final = timedelta(seconds=15)


def derive_progress(job: TrainingJob, observed: Observed, now: datetime, *, at_once: bool) -> Progress | None:
    """The previous progress, unless reports say something new and it is time to write it (or `at_once`)."""
    previous = observed.previous.progress
    if not observed.reports or not (at_once or _is_due(previous, now)):
        return previous
    fresh = _progress(job, observed.reports)
    if previous is not None and replace(previous, last_update_time=None) == fresh:
        return previous
    return replace(fresh, last_update_time=timestamp(now))


def derive_checkpoint(observed: Observed) -> CheckpointStatus | None:
    """Rank 0's newest checkpoint, or the one that was known before."""
    for report in observed.reports[:1]:
        if report.checkpoint_step is not None:
            return CheckpointStatus(
                step=report.checkpoint_step, path=report.checkpoint_path, time=_seconds(report.checkpoint_time)
            )
    return observed.previous.checkpoint


def _is_due(previous: Progress | None, now: datetime) -> bool:
    if previous is None or previous.last_update_time is None:
        return True
    return now - parse_time(previous.last_update_time) >= MIN_INTERVAL


def _progress(job: TrainingJob, reports: tuple[LearnerReport, ...]) -> Progress:
    first = reports[0]
    steps = _total(report.steps for report in reports)
    rate = sum(report.steps_per_second for report in reports)
    remaining = _remaining_seconds(job.spec.total_steps - steps, rate)
    return Progress(
        steps=steps,
        steps_summary=short_count(steps),
        frames=_total(report.frames for report in reports),
        updates=first.updates,
        steps_per_second=_total([three_digits(rate)]),
        episode_return=None if first.episode_return is None else decimal(first.episode_return),
        policy_lag=None if first.policy_lag is None else decimal(first.policy_lag),
        percent=f"{min(100, 100 * steps // job.spec.total_steps)}%",
        estimated_remaining_seconds=remaining,
        remaining="" if remaining is None else duration(remaining),
    )


def _remaining_seconds(steps: int, rate: float) -> int | None:
    if rate <= 0:
        return None
    return max(0, three_digits(min(steps / rate, MAX_STEPS)))


def _total(counts: Iterable[int]) -> int:
    """Their sum, or the largest count that a status can hold."""
    return min(sum(counts), MAX_STEPS)


def _seconds(time: str | None) -> str | None:
    return timestamp(parse_time(time)) if time else None
