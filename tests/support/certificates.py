"""A job's certificates as its pods find them: made by the operator, laid out by the volumes of the job's own pods."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from stepstream_operator.children import cluster_placement
from stepstream_operator.children.tls import tls_volumes
from stepstream_operator.controller.certificates import certificate_data
from tests.support.jobs import make_job

ROLES = ("learner", "simulator")


def new_certificates(job_uid: str = "ours") -> dict[str, str]:
    """The data of a job's Secret."""
    return certificate_data(job_uid, datetime.now(UTC), {})


def mount(data: Mapping[str, str], directory: Path) -> dict[str, Path]:
    """What each role's pod would see, in a directory a role. Overwrites what is there."""
    mounted = {role: directory / role for role in ROLES}
    job = make_job()
    for role, place in mounted.items():
        place.mkdir(parents=True, exist_ok=True)
        [(volume, _)] = tls_volumes(job, role, cluster_placement(job, tls=True))
        for item in volume["secret"]["items"]:
            (place / item["path"]).write_bytes(base64.b64decode(data[item["key"]]))
    return mounted
