"""The frame of every child: type, name, labels, owner."""

from collections.abc import Iterator, Mapping
from typing import Any

from stepstream_operator.api import API_VERSION, KIND, TrainingJob

Manifest = dict[str, Any]


def manifest(job: TrainingJob, api_version: str, kind: str, name: str, labels: dict[str, str]) -> Manifest:
    """A child without its spec. It is deleted with the job, by Kubernetes' garbage collection."""
    metadata: Manifest = {"name": name, "namespace": job.namespace, "labels": labels}
    if job.metadata.uid:
        metadata["ownerReferences"] = [_owner(job)]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def is_owned(child: Mapping[str, Any], job: TrainingJob) -> bool:
    """Whether it is this job's, and not another's or an earlier one's of the same name."""
    return any(owner.get("uid") == job.metadata.uid for owner in _owners(child))


def clash(child: Mapping[str, Any]) -> str:
    """What is said of an object that has a child's name, and is not this job's."""
    name = f"{child['kind']} {child['metadata']['name']}"
    if is_of_a_job(child):
        return f"{name} of an earlier job of this name is not gone yet"
    return f"{name} exists already and is not this job's: delete it, or give the job another name"


def is_of_a_job(child: Mapping[str, Any]) -> bool:
    """Whether garbage collection removes it with some TrainingJob, if it has not begun to."""
    return any(owner.get("kind") == KIND for owner in _owners(child))


def _owners(child: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from child["metadata"].get("ownerReferences") or ()


def _owner(job: TrainingJob) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
