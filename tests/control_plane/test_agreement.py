"""The API server accepts a job exactly when our own reading of it does: one definition, two readers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import TRAINING_JOBS
from tests.support.generated_jobs import broken_specs, specs
from tests.support.jobs import job_manifest, refusals

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("installed")]
NAMESPACE = "default"


def refusal(admin: Client, manifest: dict[str, Any]) -> str:
    """The API server's, to an apply without consequences; nothing where it accepts."""
    try:
        admin.apply(TRAINING_JOBS, NAMESPACE, manifest, dry_run=True)
    except ApiError as error:
        return error.message
    return ""


@settings(
    max_examples=300,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failing example is small enough, and shrinking slow
    suppress_health_check=list(HealthCheck),
)
@given(spec=st.one_of(specs(), broken_specs()))
def test_the_api_server_and_the_operator_accept_the_same_jobs(admin: Client, spec: dict[str, Any]) -> None:
    manifest = job_manifest() | {"metadata": {"name": "pong", "namespace": NAMESPACE}, "spec": spec}
    ours, theirs = refusals(manifest), refusal(admin, manifest)
    assert bool(ours) == bool(theirs), f"ours: {ours}\ntheirs: {theirs}"
