"""How far the job is, from the report of rank 0, which tells the job's totals.

Rounded, so that it is written only when it says something new.
"""

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
    """The previous progress, unless rank 0 says something new and it is time to write it (or `at_once`)."""
    previous, report = observed.previous.progress, _of_rank_0(observed)
    if report is None or not (at_once or _is_due(previous, now)):
        return previous
    fresh = _progress(job, report)
    if previous is not None and replace(previous, last_update_time=None) == fresh:
        return previous
    return replace(fresh, last_update_time=timestamp(now))


def derive_checkpoint(observed: Observed) -> CheckpointStatus | None:
    """Rank 0's newest checkpoint, or the one that was known before."""
    report = _of_rank_0(observed)
    if report is None or report.checkpoint_step is None:
        return observed.previous.checkpoint
    return CheckpointStatus(
        step=report.checkpoint_step, path=report.checkpoint_path, time=_seconds(report.checkpoint_time)
    )


def _of_rank_0(observed: Observed) -> LearnerReport | None:
    return next((report for report in observed.reports if report.rank == 0), None)


def _is_due(previous: Progress | None, now: datetime) -> bool:
    if previous is None or previous.last_update_time is None:
        return True
    return now - parse_time(previous.last_update_time) >= MIN_INTERVAL


def _progress(job: TrainingJob, report: LearnerReport) -> Progress:
    remaining = _remaining_seconds(job.spec.total_steps - report.steps, report.steps_per_second)
    return Progress(
        steps=report.steps,
        steps_summary=short_count(report.steps),
        frames=report.frames,
        updates=report.updates,
        steps_per_second=three_digits(report.steps_per_second),
        episode_return=None if report.episode_return is None else decimal(report.episode_return),
        policy_lag=None if report.policy_lag is None else decimal(report.policy_lag),
        percent=f"{min(100, 100 * report.steps // job.spec.total_steps)}%",
        estimated_remaining_seconds=remaining,
        remaining="" if remaining is None else duration(remaining),
    )


def _remaining_seconds(steps: int, rate: float) -> int | None:
    if rate <= 0:
        return None
    return max(0, three_digits(min(steps / rate, MAX_STEPS)))


def _seconds(time: str | None) -> str | None:
    return timestamp(parse_time(time)) if time else None
