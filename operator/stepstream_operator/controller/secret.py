"""The Secret with a job's certificates."""

from __future__ import annotations

from datetime import datetime

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.manifest import Manifest, is_owned, manifest
from stepstream_operator.children.names import ATTEMPT_LABEL, job_labels, tls_secret_name
from stepstream_operator.controller.certificates import certificate_data, must_renew
from stepstream_operator.runtime.resources import Object


def desired_secret(job: TrainingJob, attempt: int, found: Object | None, now: datetime) -> Manifest:
    """The Secret as it should be from now on: as it is, where it serves. What is another's is not looked into."""
    child = manifest(job, "v1", "Secret", tls_secret_name(job.name), {**job_labels(job), ATTEMPT_LABEL: str(attempt)})
    ours = found if found is not None and is_owned(found, job) else {}
    data = ours.get("data") or {}
    child["data"] = data if _serves(ours, attempt, now) else certificate_data(job.metadata.uid, now, data)
    return child


def _serves(found: Object, attempt: int, now: datetime) -> bool:
    labels = found["metadata"].get("labels") or {} if found else {}
    return labels.get(ATTEMPT_LABEL) == str(attempt) and not must_renew(found.get("data") or {}, now)
