"""Builders of TrainingJobs, and of what is seen of them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from stepstream_operator.api import API_VERSION, KIND, TrainingJob, parse_job
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children import LEARNER, SIMULATOR
from stepstream_operator.status import LearnerJob, LearnerReport, Observed, Pod, Termination, derive_job_status
from stepstream_trainer.config import ConfigurationErrors

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def job_manifest(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A small PPO job; `spec` is laid over it, object by object."""
    base = {"environment": {"id": "ALE/Pong-v5"}, "algorithm": {"name": "PPO"}}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "pong", "namespace": "games", "uid": UID, "generation": 1, **metadata},
        "spec": laid_over(base, spec or {}),
    }


def laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = laid_over(result[name], value) if both else value
    return result


def make_job(spec: dict[str, Any] | None = None, **metadata: Any) -> TrainingJob:
    return parse_job(job_manifest(spec, **metadata))


def refusals(manifest: object) -> list[str]:
    """What a person is told about a manifest, one line each; nothing where it is accepted."""
    try:
        parse_job(manifest)
    except ConfigurationErrors as refused:
        return [str(error) for error in refused.errors]
    return []


def learner_pod(**changes: Any) -> Pod:
    return Pod(**({"name": "pong-learner-0-x", "role": LEARNER, "uid": "l0", "attempt": 1} | changes))


def simulator_pod(**changes: Any) -> Pod:
    return Pod(**({"name": "pong-simulator-x", "role": SIMULATOR, "uid": "s0"} | changes))


def ready_learner(**changes: Any) -> Pod:
    return learner_pod(ready=True, running=True, **changes)


def crashed_learner(exit_code: int = 1, log: str = "ValueError: bad\n", **changes: Any) -> Pod:
    ended = Termination(exit_code=exit_code, reason="Error", log=log, started_at=NOW, finished_at=later(60))
    return learner_pod(termination=ended, **changes)


def learner_job(**changes: Any) -> LearnerJob:
    return LearnerJob(**({"attempt": 1, "uid": "j1"} | changes))


def report(**changes: Any) -> LearnerReport:
    return LearnerReport(**({"attempt": 1, "steps": 12_400_000, "frames": 49_600_000} | changes))


def derived(job: TrainingJob | None = None, seconds: float = 0, **seen: Any) -> JobStatus:
    """The status derived `seconds` after NOW from what is `seen`: the fields of `Observed`."""
    return derive_job_status(job or make_job(), Observed(**seen), later(seconds))


def running(job: TrainingJob | None = None, **seen: Any) -> JobStatus:
    """The status of a job whose learner has become ready."""
    begun = derived(job)
    return derived(job, previous=begun, learner_job=learner_job(), pods=(ready_learner(),), **seen)
