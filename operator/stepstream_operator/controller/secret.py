"""The Secret with a job's certificates."""

from __future__ import annotations

from datetime import datetime

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import ATTEMPT_LABEL, job_labels, tls_secret_name
from stepstream_operator.controller.certificates import certificate_data, must_renew
from stepstream_operator.runtime.resources import Object


def secret_to_apply(job: TrainingJob, attempt: int, found: Object | None, now: datetime) -> Manifest | None:
    """The Secret as it should be from now on; None where the one that is there serves."""
    data = (found or {}).get("data") or {}
    labels = {**job_labels(job), ATTEMPT_LABEL: str(attempt)}
    if found is not None and not must_renew(data, now) and labels.items() <= found["metadata"]["labels"].items():
        return None
    child = manifest(job, "v1", "Secret", tls_secret_name(job.name), labels)
    child["data"] = certificate_data(job.metadata.uid, now, data)
    return child
