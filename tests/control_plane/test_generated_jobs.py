"""Generated TrainingJobs, valid and broken, through the real API server and then through the operator's own reading."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepstream_operator.api import parse_job
from stepstream_operator.children import cluster_placement, desired_children
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import JOBS, TRAINING_JOBS, Object
from tests.support.cluster_fixtures import StartOperator
from tests.support.daemons import eventually
from tests.support.running_operator import Cluster, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("installed"), pytest.mark.timeout(280)]
EXAMPLES = 1000
RECONCILED = 20

counts = st.integers(1, 8)
valid_specs = st.fixed_dictionaries(
    {
        "environment": st.sampled_from([{"id": "ALE/Pong-v5"}, {"id": "CartPole-v1"}, {"id": "ALE/Breakout-v5"}]),
        "algorithm": st.sampled_from([{"name": name} for name in ("A2C", "PPO", "A3C", "APPO", "DQN")]),
    },
    optional={
        "totalSteps": st.integers(1, 10**9),
        "seed": st.integers(0, 2**31 - 1),
        "mode": st.sampled_from(["Auto", "Async"]),
        "learners": st.fixed_dictionaries({"replicas": counts}, optional={"environments": st.just(128)}),
        "simulators": st.fixed_dictionaries({"replicas": st.integers(1, 32)}),
        "suspend": st.booleans(),
        "backoffLimit": st.integers(0, 10),
        "cleanupPolicy": st.sampled_from(["Running", "All", "None"]),
        "ttlSecondsAfterFinished": st.integers(0, 10**6),
    },
)

# Field, a value it must not have, and the name that the refusal must tell.
BROKEN = (
    ("simulators", {"replicas": 0}, "spec.simulators.replicas"),
    ("simulators", {"replicas": 5000}, "spec.simulators.replicas"),
    ("simulators", {"replicas": "two"}, "spec.simulators.replicas"),
    ("simulators", {"replicas": 4, "minReplicas": 3, "maxReplicas": 2}, "spec.simulators.minReplicas"),
    ("simulators", {"replicas": 4, "minReplicas": 3}, "spec.simulators.maxReplicas"),
    ("learners", {"replicas": 0}, "spec.learners.replicas"),
    ("learners", {"precision": "Float16"}, "spec.learners.precision"),
    ("mode", "sync", "spec.mode"),
    ("mode", 3, "spec.mode"),
    ("totalSteps", 0, "spec.totalSteps"),
    ("totalSteps", 1.5, "spec.totalSteps"),
    ("seed", -1, "spec.seed"),
    ("backoffLimit", -1, "spec.backoffLimit"),
    ("cleanupPolicy", "Some", "spec.cleanupPolicy"),
    ("environment", {}, "spec.environment.id"),
    ("algorithm", {"name": "TRPO"}, "spec.algorithm.name"),
    ("algorithm", {"name": "PPO", "parameters": {"atoms": 51}}, "spec.algorithm.parameters.atoms"),
    ("suspend", "yes", "spec.suspend"),
    ("ttlSecondsAfterFinished", -5, "spec.ttlSecondsAfterFinished"),
)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Object, str | None]:
    """A job, and the field that must be named in its refusal; None where it is right."""
    spec = draw(valid_specs)
    job = manifest() | {"spec": copy.deepcopy(spec)}
    if draw(st.booleans()):
        return job, None
    field, value, name = draw(st.sampled_from(BROKEN))
    job["spec"][field] = value
    return job, name


def test_each_is_refused_by_the_name_of_its_field_or_becomes_children_the_server_accepts(
    admin: Client, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = {"accepted": 0, "refused": 0}

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(jobs())
    def check(generated: tuple[Object, str | None]) -> None:
        job, broken = generated
        answer = _submitted(admin, namespace, job)
        if broken is not None:
            assert isinstance(answer, ApiError)
            assert broken in answer.message
            seen["refused"] += 1
            return
        assert isinstance(answer, dict), answer
        parsed = parse_job(answer)
        assert desired_children(parsed, 1, cluster_placement(parsed, tls=True))
        seen["accepted"] += 1

    check()
    assert sum(seen.values()) >= EXAMPLES
    with capsys.disabled():
        print(f"\ngenerated jobs: {seen['accepted']} accepted, {seen['refused']} refused by the name of their field")


def _submitted(admin: Client, namespace: str, job: Object) -> Object | ApiError:
    try:
        return admin.create(TRAINING_JOBS, namespace, job, dry_run=True)
    except ApiError as error:
        return error


def test_accepted_ones_are_reconciled_without_a_traceback(
    cluster: Cluster, start: StartOperator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    specs: list[Any] = []

    @settings(max_examples=RECONCILED * 3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(valid_specs)
    def collect(spec: Any) -> None:
        specs.append(spec)

    collect()
    start(workers=4)
    names = []
    for number, spec in enumerate(specs[-RECONCILED:]):
        names.append(f"job-{number}")
        cluster.submit(manifest(names[-1]) | {"spec": spec | {"simulators": {"replicas": 1}}})
    running = [name for name in names if not (cluster.job(name) or {})["spec"]["suspend"]]
    eventually(
        lambda: {f"{name}-learner" for name in running} <= {job["metadata"]["name"] for job in cluster.all(JOBS)},
        timeout_seconds=60,
        what="every job that is not suspended has learners",
    )
    assert [record for record in caplog.records if record.exc_info] == []
