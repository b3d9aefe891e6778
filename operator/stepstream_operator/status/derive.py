"""How a job stands, as a function of the job, of what is seen, and of the time."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import MAX_MESSAGE, ConditionType, JobStatus, ModeDecision, RoleStatus
from stepstream_operator.children.names import LEARNER, SIMULATOR, role_selector
from stepstream_operator.status.conditions import Finding, with_findings
from stepstream_operator.status.lifecycle import Life, Stage, derive_life, life_so_far
from stepstream_operator.status.observed import Observed
from stepstream_operator.status.phase import derive_findings, derive_message, derive_phase
from stepstream_operator.status.progress import derive_checkpoint, derive_progress
from stepstream_operator.status.report import LearnerReport
from stepstream_operator.status.words import clipped, timestamp
from stepstream_trainer.config import ConfigurationErrors, Mode, parse, to_mapping


def derive_status(job: TrainingJob, observed: Observed, now: datetime) -> dict[str, Any]:
    """The whole status, as the API server takes it. `now` is by the API server's clock, which wrote the other times.

    `attempt` and `restarts` in it are decisions: write them, with a resourceVersion precondition, before acting.
    """
    return dict(to_mapping(derive_job_status(job, observed, now)))


def derive_job_status(job: TrainingJob, observed: Observed, now: datetime) -> JobStatus:
    """As `derive_status`, typed."""
    previous = observed.previous
    if previous.finished:
        return _finished(job, observed)
    observed = replace(observed, reports=_current_reports(observed))
    life = derive_life(job, observed, now)
    ended = life.stage in (Stage.SUCCEEDED, Stage.FAILED)
    generation = job.metadata.generation
    return replace(
        previous,
        observed_generation=generation,
        phase=derive_phase(job, observed, life),
        message=clipped(derive_message(job, observed, life), MAX_MESSAGE),
        conditions=with_findings(
            previous.conditions, derive_findings(job, observed, life), generation=generation, now=now
        ),
        mode=_mode(job, observed),
        mode_decision=_mode_decision(observed),
        start_time=life.start_time,
        completion_time=timestamp(now) if ended else None,
        last_resume_time=life.last_resume_time,
        attempt=life.attempt,
        restarts=life.restarts,
        learners=_learners(job, observed, life),
        simulators=_simulators(job, observed, life),
        progress=derive_progress(job, observed, now, at_once=ended),
        checkpoint=derive_checkpoint(observed),
        failure=life.failure,
    )


def refused_status(previous: JobStatus, errors: ConfigurationErrors, generation: int, now: datetime) -> dict[str, Any]:
    """The status of a job that passed the API server, but not our reading of it. Nothing else of it changes."""
    message = clipped("; ".join(str(error) for error in errors.errors), MAX_MESSAGE)
    finding = Finding(type=ConditionType.Accepted, holds=False, reason="Invalid", message=message)
    conditions = with_findings(previous.conditions, [finding], generation=generation, now=now)
    refused = replace(previous, observed_generation=generation, message=message, conditions=conditions)
    return dict(to_mapping(refused))


def previous_status(manifest: dict[str, Any]) -> JobStatus:
    """The status in a job's manifest; an empty one where there is none."""
    return parse(JobStatus, manifest.get("status") or {}, path="status")


def _finished(job: TrainingJob, observed: Observed) -> JobStatus:
    """An ended job's story is told; only its pods are still counted."""
    life = life_so_far(observed.previous)
    return replace(
        observed.previous,
        observed_generation=job.metadata.generation,
        learners=_learners(job, observed, life),
        simulators=_simulators(job, observed, life),
    )


def _current_reports(observed: Observed) -> tuple[LearnerReport, ...]:
    """A report of an earlier attempt may still be under way when the next one has begun."""
    return tuple(report for report in observed.reports if report.attempt == observed.previous.attempt)


def _mode(job: TrainingJob, observed: Observed) -> Mode | None:
    """What learners say they do; before that what the job says, unless it leaves it to them."""
    if observed.reports:
        return observed.reports[0].mode
    return observed.previous.mode if job.spec.mode is Mode.Auto else job.spec.mode


def _mode_decision(observed: Observed) -> ModeDecision | None:
    """The latest: an attempt that has not decided yet goes by what an earlier one found."""
    found = next((report.mode_decision for report in observed.reports if report.mode_decision), None)
    return found or observed.previous.mode_decision


def _learners(job: TrainingJob, observed: Observed, life: Life) -> RoleStatus:
    return _role(job, observed, LEARNER, job.spec.learners.replicas if life.stage is Stage.ACTIVE else 0)


def _simulators(job: TrainingJob, observed: Observed, life: Life) -> RoleStatus:
    return _role(job, observed, SIMULATOR, job.spec.simulators.replicas if life.stage is Stage.ACTIVE else 0)


def _role(job: TrainingJob, observed: Observed, role: str, desired: int) -> RoleStatus:
    pods = [pod for pod in observed.of_role(role) if not pod.deleting]
    ready = sum(pod.ready for pod in pods)
    selector = ",".join(f"{name}={value}" for name, value in role_selector(job, role).items())
    return RoleStatus(desired=desired, replicas=len(pods), ready=ready, summary=f"{ready}/{desired}", selector=selector)
