"""A thousand generated TrainingJobs, right and broken, through the real API server and a real operator.

The API server accepts a job exactly when our own reading of it does: one definition, two readers. What it refuses it
refuses by the name of a field; what it accepts the operator brings about, or says why it cannot.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stepstream_operator.api import MANAGED_BY, parse_job
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children.names import QUEUE_LABELS, learners_name
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import JOBS, PODS, TRAINING_JOBS, Object
from stepstream_operator.status import previous_status
from stepstream_trainer.config import ConfigurationErrors
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.generated_jobs import broken_specs, specs
from tests.support.last_lines import TellAtTheEnd
from tests.support.operator_process import OperatorProcess
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]
EXAMPLES = 1000
RUNNING_EVERY = 6
"""Of so many that are accepted one runs. The others wait in a queue: thousands of pods would take too long."""
QUIET_SECONDS = 3.0
QUIET_RECONCILES = 5
"""Of one job in QUIET_SECONDS: a retry, and what a deadline that passes just then changes."""
RECONCILES = 100
"""Of one job from its creation to rest."""
TROUBLES = ("cannot be scheduled", "cannot be created", "is refused")


@pytest.fixture
def operator(cluster: Cluster, control_plane: ControlPlane, tmp_path: Path) -> Iterator[OperatorProcess]:
    flags = ["--watch-namespace", cluster.namespace, "--log-level", "debug"]
    process = OperatorProcess(flags, kubeconfig=control_plane.kubeconfig, log=tmp_path / "operator.log")
    yield process
    process.stop()


def test_each_of_a_thousand_jobs_is_refused_by_the_name_of_a_field_or_reconciled(
    cluster: Cluster, operator: OperatorProcess, request: pytest.FixtureRequest, tell_at_the_end: TellAtTheEnd
) -> None:
    accepted: list[str] = []
    refused: list[str] = []
    running: set[str] = set()
    numbers = itertools.count()

    @settings(
        max_examples=EXAMPLES,
        derandomize=not request.config.getoption("thorough"),
        database=None,
        phases=[Phase.generate],  # a failing example is small enough, and shrinking slow
        suppress_health_check=list(HealthCheck),
    )
    @given(spec=st.one_of(specs(), broken_specs()))
    def submit(spec: dict[str, Any]) -> None:
        name, runs = f"job-{next(numbers)}", len(accepted) % RUNNING_EVERY == 0
        if is_accepted(cluster, generated(name, spec) if runs else queued(name, spec)):
            accepted.append(name)
            running.update([name] if runs else [])
        else:
            refused.append(name)

    submit()
    assert len(accepted) + len(refused) >= EXAMPLES
    # How many are accepted hangs on the modules that are loaded: Hypothesis draws from their constants, too.
    assert min(len(accepted), len(refused)) > EXAMPLES / 10
    what = "each is reconciled"
    eventually(lambda: unreconciled(cluster, running) == [], timeout_seconds=120, what=what, interval_seconds=1)
    assert "traceback" not in {key for line in operator.log_lines() for key in line}
    goes_round_in_no_circle(operator, len(accepted))
    at_work = [job["metadata"]["name"] for job in cluster.all(TRAINING_JOBS) if is_at_work(previous_status(job))]
    assert len(at_work) >= len(running) / 4
    said = f"{len(refused)} refused by the name of a field, {len(accepted)} reconciled without a traceback"
    pods = f"{len(cluster.all(PODS))} pods of the {len(at_work)} at work"
    tell_at_the_end(f"generated jobs: {len(accepted) + len(refused)} tried, {said}, {pods}")


def generated(name: str, spec: dict[str, Any]) -> Object:
    return manifest(name) | {"spec": spec}


def queued(name: str, spec: dict[str, Any]) -> Object:
    """In a queue that never lets it start: it gets its learners' Job and what that needs, and no pods."""
    job = generated(name, spec)
    job["metadata"]["labels"] = {QUEUE_LABELS[0]: "never"}
    return job


def is_accepted(cluster: Cluster, job: Object) -> bool:
    """By the API server; fails where our own reading differs, or the refusal names no field of ours."""
    metadata = job["metadata"] | {"namespace": cluster.namespace, "uid": "u", "generation": 1}
    ours = errors_of(job | {"metadata": metadata})
    theirs = refusal(cluster, job)
    assert bool(ours) == bool(theirs), f"ours: {ours}\ntheirs: {theirs}"
    assert not ours or any(names(theirs, path) for path in ours), f"{ours} not named in: {theirs}"
    return not ours


def refusal(cluster: Cluster, job: Object) -> str:
    """The API server's; empty where it accepts."""
    try:
        cluster.admin.apply(TRAINING_JOBS, cluster.namespace, job)
    except ApiError as error:
        return error.message
    return ""


def errors_of(job: Object) -> list[str]:
    """Paths of the fields that our own reading refuses."""
    try:
        parse_job(job)
    except ConfigurationErrors as refused:
        return [error.path for error in refused.errors]
    return []


def names(message: str, path: str) -> bool:
    """The field, or an object that it is in: where that is no object at all, the server looks no further."""
    parts = re.sub(r"\[\d+\]", "", path).split(".")
    said = re.sub(r"\[\d+\]", "", message)
    return any(".".join(parts[:length]) in said for length in range(2, len(parts) + 1))


def unreconciled(cluster: Cluster, running: set[str]) -> list[str]:
    """Jobs that the operator has not answered, or neither brought about nor explained."""
    learners = {child["metadata"]["name"] for child in cluster.all(JOBS)}
    jobs = {job["metadata"]["name"]: job for job in cluster.all(TRAINING_JOBS)}
    return [
        name
        for name, job in jobs.items()
        if not is_reconciled(job, runs=name in running, made=learners_name(name) in learners)
    ]


def is_reconciled(job: Object, *, runs: bool, made: bool) -> bool:
    """`made`: its learners' Job exists."""
    if job["spec"].get("managedBy", MANAGED_BY) != MANAGED_BY:
        return "status" not in job
    status = previous_status(job)
    if status.observed_generation != job["metadata"]["generation"]:
        return False
    if job["spec"]["suspend"]:
        return not made
    explained = status.finished or any(trouble in status.message for trouble in TROUBLES)
    return explained or (is_at_work(status) if runs else made)


def is_at_work(status: JobStatus) -> bool:
    """All its pods are ready."""
    return status.phase.value == "Running" and status.simulators.ready == status.simulators.desired > 0


def goes_round_in_no_circle(operator: OperatorProcess, jobs: int) -> None:
    """What is settled is left alone; what was refused is tried again at long intervals."""

    def reconciles() -> Counter[str]:
        return Counter(line["job"] for line in operator.log_lines() if line["event"] == "reconcile")

    def rests() -> bool:
        before = reconciles()
        threading.Event().wait(QUIET_SECONDS)
        since = reconciles() - before
        return since.total() < jobs / 4 and max(since.values(), default=0) <= QUIET_RECONCILES

    eventually(rests, timeout_seconds=60, what="no job is looked at again and again")
    assert [found for found in reconciles().items() if found[1] > RECONCILES] == []
