"""Where a job is in its life, and what that means for its attempt. Decided from conditions, counts and what is seen;
never from the phase, which is for people.

    not begun --> attempt 1 --failure--> attempt 2 ... --> finished
                     |  ^                                  (Complete, or Failed with a reason)
               suspend  resume: next attempt
                     v  |
                  suspended
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import MAX_LOG, MAX_MESSAGE, ConditionType, Failure, JobStatus
from stepstream_operator.children.learner_job import RETRIES_APART
from stepstream_operator.children.names import LEARNER
from stepstream_operator.status.observed import LearnerJob, Observed, Pod, parse_time
from stepstream_operator.status.troubles import how_it_ended, role_troubles
from stepstream_operator.status.words import clipped, counted, duration, tail, timestamp
from stepstream_trainer.config.contract import EXIT_INVALID, EXIT_RESUME

BACKOFF_LIMIT_EXCEEDED: Final = "BackoffLimitExceeded"
INVALID_INPUT: Final = "InvalidInput"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
PENDING_DEADLINE_EXCEEDED: Final = "PendingDeadlineExceeded"
LEARNER_FAILED: Final = "LearnerFailed"

EXPLANATION_PATIENCE: Final = timedelta(seconds=15)
"""A learner's last figures, or the code and log lines it failed with, are worth so much; a watch that is behind takes
no longer."""
_FAILED_BY_RULE: Final = "PodFailurePolicy"
"""Reason of a Job that its podFailurePolicy failed (batch/v1)."""
_RETRIED_IN_VAIN: Final = "MaxFailedIndexesExceeded"
"""Reason of a Job of which one index has failed too often (batch/v1)."""

LEARNERS_LOST: Final = "LearnersLost"
"""Reason of a false Ready: learners were ready, and are not any more. It lasts until they are ready again."""

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Stage(enum.Enum):
    """What the job is to be doing now."""

    ACTIVE = enum.auto()
    SUSPENDED = enum.auto()
    SUCCEEDED = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """The stage, and the counters that must be written before anything is done about it."""

    stage: Stage
    attempt: int
    restarts: int
    start_time: str | None
    last_resume_time: str | None
    failure: Failure | None


def derive_life(job: TrainingJob, observed: Observed, now: datetime) -> Life:
    """The first that holds: it is over; it ended just now; it is out of time; it is suspended; it starts or goes on."""
    previous = _with_attempt(observed)
    life = life_so_far(previous)
    if previous.finished:
        return life
    ended = observed.learner_job if _is_current(observed.learner_job, previous) else None
    if ended is not None and ended.succeeded:
        return life if _is_unexplained(observed, now) else replace(life, stage=Stage.SUCCEEDED)
    if ended is not None and _has_failed(job, observed, ended, now):
        life = _after_failure(job, life, learner_failure(observed, ended, now))
        if life.stage is Stage.FAILED:
            return life
    overdue = _overdue(job, observed, now)
    if overdue is not None:
        return replace(life, stage=Stage.FAILED, failure=overdue)
    if job.spec.suspend:
        return replace(life, stage=Stage.SUSPENDED)
    return _begun(life, previous, now)


def _has_failed(job: TrainingJob, observed: Observed, ended: LearnerJob, now: datetime) -> bool:
    """Learners that were asked to leave and had to be killed are no failure. What a failed pod says is waited for."""
    told_to_leave = ended.deleting and _is_suspended(job, observed.previous)
    return ended.failed and not told_to_leave and not _is_unexplained(observed, now)


def _is_unexplained(observed: Observed, now: datetime) -> bool:
    explained_by = explanation_deadline(observed)
    return explained_by is not None and now < explained_by


def explanation_deadline(observed: Observed) -> datetime | None:
    """Until when a Job's end waits for the pods that explain it: they are watched apart from Jobs, and may come later.

    A failure is explained by the pod that failed, a success by the last words of all learners.
    """
    ended = observed.learner_job
    if ended is None or ended.ended_at is None:
        return None
    if ended.failed:
        explained = _failed_pod(observed, ended) is not None
    else:
        explained = all(pod.ended for pod in observed.learners(ended.attempt))
    return None if explained else ended.ended_at + EXPLANATION_PATIENCE


def learner_failure(observed: Observed, ended: LearnerJob, now: datetime) -> Failure:
    """What is known of the learner that failed its Job: the pod that ended with a code that is a failure."""
    pod = _failed_pod(observed, ended)
    termination = pod.termination if pod else None
    invalid = _is_invalid(ended) or (termination is not None and termination.exit_code == EXIT_INVALID)
    said = how_it_ended(termination) if termination else ended.failure_message or ended.failure_reason
    return Failure(
        reason=INVALID_INPUT if invalid else LEARNER_FAILED,
        message=clipped(f"learner failed with {said}" if termination else f"learners failed: {said}", MAX_MESSAGE),
        role=LEARNER,
        pod=pod.name if pod else "",
        exit_code=termination.exit_code if termination else None,
        log=tail(termination.log, MAX_LOG) if termination else "",
        attempt=ended.attempt,
        time=timestamp(now),
    )


def _with_attempt(observed: Observed) -> JobStatus:
    """The previous status. One that was lost (a restored backup) takes the attempt of the Job that is there."""
    previous = observed.previous
    if previous.attempt or observed.learner_job is None:
        return previous
    return replace(previous, attempt=observed.learner_job.attempt)


def life_so_far(previous: JobStatus) -> Life:
    """As it was written last."""
    stage = Stage.ACTIVE
    if previous.holds(ConditionType.Complete):
        stage = Stage.SUCCEEDED
    elif previous.holds(ConditionType.Failed):
        stage = Stage.FAILED
    return Life(
        stage=stage,
        attempt=previous.attempt,
        restarts=previous.restarts,
        start_time=previous.start_time,
        last_resume_time=previous.last_resume_time,
        failure=previous.failure,
    )


def _is_current(learner_job: LearnerJob | None, previous: JobStatus) -> bool:
    """A Job of an earlier attempt has been judged already; it only waits to be deleted."""
    return learner_job is not None and learner_job.attempt == previous.attempt


def _after_failure(job: TrainingJob, life: Life, failure: Failure) -> Life:
    if failure.reason == INVALID_INPUT:
        return replace(life, stage=Stage.FAILED, failure=failure)
    if life.restarts >= job.spec.backoff_limit:
        message = f"{failure.message}, after {counted(life.restarts, 'restart')} (spec.backoffLimit)"
        failure = replace(failure, reason=BACKOFF_LIMIT_EXCEEDED, message=clipped(message, MAX_MESSAGE))
        return replace(life, stage=Stage.FAILED, failure=failure)
    return replace(life, attempt=life.attempt + 1, restarts=life.restarts + 1, failure=failure)


def _overdue(job: TrainingJob, observed: Observed, now: datetime) -> Failure | None:
    active, pending = active_deadline(job, observed.previous), pending_deadline(job, observed)
    if active is not None and now >= active:
        said = f"not finished within {duration(job.spec.active_deadline_seconds or 0)} (spec.activeDeadlineSeconds)"
        return _out_of_time(DEADLINE_EXCEEDED, said, observed, now)
    if pending is not None and now >= pending:
        cause = role_troubles(observed, LEARNER)
        limit = duration(job.spec.pending_deadline_seconds or 0)
        said = f"learners did not run within {limit} (spec.pendingDeadlineSeconds)"
        return _out_of_time(PENDING_DEADLINE_EXCEEDED, f"{said}: {cause}" if cause else said, observed, now)
    return None


def _out_of_time(reason: str, message: str, observed: Observed, now: datetime) -> Failure:
    attempt = observed.previous.attempt
    return Failure(reason=reason, message=clipped(message, MAX_MESSAGE), attempt=attempt, time=timestamp(now))


def active_deadline(job: TrainingJob, status: JobStatus) -> datetime | None:
    since = _active_since(job, status)
    if job.spec.active_deadline_seconds is None or since is None:
        return None
    return since + timedelta(seconds=job.spec.active_deadline_seconds)


def _active_since(job: TrainingJob, status: JobStatus) -> datetime | None:
    """Its start, resume or admission, whichever was last: as a Job's, the clock stops while it is suspended or queued,
    and starts anew afterwards."""
    admitted = status.condition(ConditionType.Admitted)
    queued = admitted is not None and not status.holds(ConditionType.Admitted)
    if _is_suspended(job, status) or queued or status.start_time is None:
        return None
    moments = (status.start_time, status.last_resume_time, admitted.last_transition_time if admitted else None)
    return max(parse_time(moment) for moment in moments if moment)


def _is_suspended(job: TrainingJob, status: JobStatus) -> bool:
    """Also at the moment of its resume, which is still to be written."""
    return job.spec.suspend or status.holds(ConditionType.Suspended)


def pending_deadline(job: TrainingJob, observed: Observed) -> datetime | None:
    since = _waiting_since(job, observed)
    if job.spec.pending_deadline_seconds is None or since is None:
        return None
    return since + timedelta(seconds=job.spec.pending_deadline_seconds)


def _waiting_since(job: TrainingJob, observed: Observed) -> datetime | None:
    """Since when the job could have been running but its learners never were; None where they were, or must not be."""
    previous = observed.previous
    if _is_suspended(job, previous) or previous.progress is not None or observed.reports or has_been_ready(previous):
        return None
    if any(pod.running or pod.ready for pod in observed.of_role(LEARNER)):
        return None
    since = previous.last_resume_time or job.metadata.creation_timestamp
    return parse_time(since) if since else None


def has_been_ready(status: JobStatus) -> bool:
    """Whether learners were ready once: Ready's reason says so for as long as they are not ready again."""
    ready = status.condition(ConditionType.Ready)
    return ready is not None and (status.holds(ConditionType.Ready) or ready.reason == LEARNERS_LOST)


def learners_lost_at(status: JobStatus) -> datetime | None:
    """Since when learners that were all ready once are not; None where they never were, or still are."""
    ready = status.condition(ConditionType.Ready)
    return parse_time(ready.last_transition_time) if ready is not None and ready.reason == LEARNERS_LOST else None


def _begun(life: Life, previous: JobStatus, now: datetime) -> Life:
    """An attempt for the first start, and a new one for a resume. `suspend` before the first start begins nothing."""
    resumed = previous.holds(ConditionType.Suspended)
    started_now = life.attempt == 0
    return replace(
        life,
        attempt=life.attempt + 1 if resumed or started_now else life.attempt,
        start_time=life.start_time or timestamp(now),
        last_resume_time=timestamp(now) if resumed else life.last_resume_time,
    )


def _is_invalid(ended: LearnerJob) -> bool:
    """Of the rules for learners' ends only the one for EXIT_INVALID fails the Job."""
    return ended.failure_reason == _FAILED_BY_RULE


def _failed_pod(observed: Observed, ended: LearnerJob) -> Pod | None:
    """The first to fail is the cause, the others often fail because of it; but input that cannot work, before all.

    Of learners that are retried apart, the earlier failures were forgiven: the last one that its index had left counts.
    """
    failed = [
        pod
        for pod in observed.learners(ended.attempt)
        if pod.termination is not None and not pod.disrupted and pod.termination.exit_code not in (0, EXIT_RESUME)
    ]
    if _is_invalid(ended):
        failed = [pod for pod in failed if pod.termination and pod.termination.exit_code == EXIT_INVALID]
    if ended.failure_reason == _RETRIED_IN_VAIN:
        failed = [pod for pod in failed if pod.earlier_failures >= RETRIES_APART]
    return min(failed, key=_ended_at, default=None)


def _ended_at(pod: Pod) -> datetime:
    assert pod.termination is not None
    return pod.termination.finished_at or _EPOCH
