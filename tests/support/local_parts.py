"""What the local runner's parts are tried with: a job, its run directory, a status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepstream_operator.api import TrainingJob, load_job
from stepstream_operator.api.status_types import Condition, ConditionStatus, ConditionType, JobStatus
from stepstream_operator.local.run_directory import RunDirectory
from tests.support.local_run import write_job


def make_job(directory: Path, *overrides: str) -> TrainingJob:
    return load_job(write_job(directory / "cart.yaml"), overrides)


def make_run(directory: Path, job: TrainingJob) -> RunDirectory:
    run = RunDirectory(directory / "run", "run")
    with run.lock():
        run.save_job(job)
    return run


def status_with(kind: ConditionType, **fields: Any) -> JobStatus:
    condition = Condition(
        type=kind, status=ConditionStatus.True_, last_transition_time="2026-01-01T00:00:00Z", reason="R"
    )
    return JobStatus(conditions=(condition,), **fields)
