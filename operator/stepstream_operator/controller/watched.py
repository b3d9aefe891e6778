"""What the operator follows, and how little of it it keeps in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepstream_operator.children.names import JOB_LABEL
from stepstream_operator.runtime.resources import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICES,
    TRAINING_JOBS,
    Object,
    Resource,
)
from stepstream_operator.runtime.store import Changed, Key, Owner, Store, key_of

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "annotations",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
)
_POD_STATUS = ("phase", "podIP")
_CONDITION = ("type", "status", "reason", "message", "lastTransitionTime")
_CONTAINER = ("name", "state", "lastState", "restartCount", "ready")


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """One kind. Everything but TrainingJobs is followed by label: the operator sees no pod that is not its own."""

    resource: Resource
    keep: Callable[[Object], Object] = field(default=lambda item: item)
    owner: Owner = field(default=lambda item: job_of(item))
    label_selector: str | None = JOB_LABEL


def job_of(item: Object) -> Key | None:
    metadata = item["metadata"]
    name = (metadata.get("labels") or {}).get(JOB_LABEL)
    return (metadata["namespace"], name) if name else None


def _picked(mapping: Mapping[str, Any], names: tuple[str, ...]) -> Object:
    return {name: mapping[name] for name in names if name in mapping}


def kept_pod(pod: Object) -> Object:
    """A pod with little of its spec: there are thousands."""
    status = pod.get("status") or {}
    kept = _picked(status, _POD_STATUS)
    kept["conditions"] = [_picked(each, _CONDITION) for each in status.get("conditions") or ()]
    kept["containerStatuses"] = [_picked(each, _CONTAINER) for each in status.get("containerStatuses") or ()]
    names = [{"name": container["name"]} for container in (pod.get("spec") or {}).get("containers") or ()]
    return {"metadata": _picked(pod["metadata"], _METADATA), "spec": {"containers": names}, "status": kept}


def kept_child(child: Object) -> Object:
    """A child with what tells drift and its state."""
    return {name: value for name, value in child.items() if name != "metadata"} | {
        "metadata": _picked(child["metadata"], _METADATA)
    }


WATCHED = (
    Watched(resource=TRAINING_JOBS, owner=key_of, label_selector=None),
    Watched(resource=JOBS, keep=kept_child),
    Watched(resource=DEPLOYMENTS, keep=kept_child),
    Watched(resource=PODS, keep=kept_pod),
    Watched(resource=SERVICES, keep=kept_child),
    Watched(resource=SECRETS, keep=kept_child),
    Watched(resource=CONFIG_MAPS, keep=kept_child),
    Watched(resource=CLAIMS, keep=kept_child),
    Watched(resource=DISRUPTION_BUDGETS, keep=kept_child),
    Watched(resource=NETWORK_POLICIES, keep=kept_child),
)


class Stores:
    """One store a kind, by plural name."""

    def __init__(self, changed: Changed) -> None:
        self._stores = {watched.resource: Store(watched.owner, changed) for watched in WATCHED}

    def __getitem__(self, resource: Resource) -> Store:
        return self._stores[resource]

    def children(self, job: Key) -> list[Object]:
        """Every child but pods."""
        return [
            item
            for watched in WATCHED
            if watched.resource not in (TRAINING_JOBS, PODS)
            for item in self[watched.resource].owned_by(job)
        ]


RESOURCE_OF_KIND = {watched.resource.kind: watched.resource for watched in WATCHED}
