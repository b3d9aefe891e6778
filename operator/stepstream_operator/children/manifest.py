"""The frame of every child: type, name, labels, owner."""

from typing import Any

from stepstream_operator.api import API_VERSION, KIND, TrainingJob

Manifest = dict[str, Any]


def manifest(job: TrainingJob, api_version: str, kind: str, name: str, labels: dict[str, str]) -> Manifest:
    """A child without its spec. It is deleted with the job, by Kubernetes' garbage collection."""
    metadata: Manifest = {"name": name, "namespace": job.namespace, "labels": labels}
    if job.metadata.uid:
        metadata["ownerReferences"] = [_owner(job)]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _owner(job: TrainingJob) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
