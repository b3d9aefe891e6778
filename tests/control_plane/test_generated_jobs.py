"""A thousand generated TrainingJobs, right and broken, through the real API server and a real operator.

The API server accepts a job exactly when our own reading of it does: one definition, two readers. What it refuses it
refuses by the name of a field; what it accepts the operator brings about, or says why it cannot.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stepstream_operator.api import MANAGED_BY, parse_job
from stepstream_operator.children.names import QUEUE_LABELS, learners_name
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import JOBS, TRAINING_JOBS, Object
from stepstream_operator.status import previous_status
from stepstream_trainer.config import ConfigurationErrors
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.generated_jobs import broken_specs, specs
from tests.support.operator_process import OperatorProcess
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]
EXAMPLES = 1000
QUIET_SECONDS = 3.0


@pytest.fixture
def operator(cluster: Cluster, control_plane: ControlPlane, tmp_path: Path) -> Iterator[OperatorProcess]:
    flags = ["--watch-namespace", cluster.namespace]
    process = OperatorProcess(flags, kubeconfig=control_plane.kubeconfig, log=tmp_path / "operator.log")
    yield process
    process.stop()


def test_each_of_a_thousand_jobs_is_refused_by_the_name_of_a_field_or_reconciled(
    cluster: Cluster, operator: OperatorProcess, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted: list[str] = []
    refused: list[str] = []
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
        job = queued(f"job-{next(numbers)}", spec)
        (accepted if is_accepted(cluster, job) else refused).append(job["metadata"]["name"])

    submit()
    assert len(accepted) + len(refused) >= EXAMPLES
    assert min(len(accepted), len(refused)) > EXAMPLES / 5
    eventually(lambda: unreconciled(cluster) == [], timeout_seconds=120, what="each is reconciled", interval_seconds=1)
    assert "traceback" not in {key for line in operator.log_lines() for key in line}
    goes_round_in_no_circle(operator, len(accepted))
    with capsys.disabled():
        said = f"{len(refused)} refused by the name of a field, {len(accepted)} reconciled without a traceback"
        print(f"\ngenerated jobs: {len(accepted) + len(refused)} tried, {said}")


def queued(name: str, spec: dict[str, Any]) -> Object:
    """In a queue that never lets it start: it gets every child, and no pods, of which there would be thousands."""
    metadata = {"name": name, "labels": {QUEUE_LABELS[0]: "never"}}
    return manifest() | {"metadata": metadata, "spec": spec}


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


def unreconciled(cluster: Cluster) -> list[str]:
    """Jobs that the operator has not answered, and those whose learners are neither held in the queue nor explained."""
    learners = {child["metadata"]["name"] for child in cluster.all(JOBS)}
    return [job["metadata"]["name"] for job in cluster.all(TRAINING_JOBS) if not is_reconciled(job, learners)]


def is_reconciled(job: Object, learners: set[str]) -> bool:
    if job["spec"].get("managedBy", MANAGED_BY) != MANAGED_BY:
        return "status" not in job
    status = previous_status(job)
    if status.observed_generation != job["metadata"]["generation"]:
        return False
    exists = learners_name(job["metadata"]["name"]) in learners
    explained = status.finished or "is refused" in status.message
    return not exists if job["spec"]["suspend"] else exists or explained


def goes_round_in_no_circle(operator: OperatorProcess, jobs: int) -> None:
    """What is settled is left alone; what was refused is tried again at long intervals."""

    def reconciles() -> float:
        return operator.samples("stepstream_operator_reconcile_seconds_count")[""]

    eventually(lambda: operator.samples("stepstream_operator_queue_depth")[""] == 0, timeout_seconds=60, what="idle")
    before = reconciles()
    threading.Event().wait(QUIET_SECONDS)
    assert reconciles() - before < jobs / 4
