"""Writes a TrainingJob's status: only what changed, only when it changed, and never over another's change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepstream_operator.controller.watched import Stores
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import TRAINING_JOBS, Object

_LIFE = ("attempt", "restarts", "startTime", "lastResumeTime", "completionTime")


class StatusWriter:
    """Thread-safe."""

    def __init__(self, client: Client, stores: Stores) -> None:
        self._client, self._stores = client, stores

    def write(self, raw: Object, status: Object) -> Object:
        """The job with `status`, as the server has it then. ApiError (conflict) where `raw` is not the newest."""
        change = merge_difference(raw.get("status") or {}, status)
        return self._patch(raw, change) if change else raw

    def confirm(self, raw: Object) -> Object:
        """Fails with a conflict unless `raw` is the newest version. The server stores nothing for it."""
        return self._patch(raw, {})

    def _patch(self, raw: Object, change: Object) -> Object:
        metadata = raw["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": change}
        written = self._client.merge(TRAINING_JOBS, metadata["namespace"], metadata["name"], body, subresource="status")
        written["metadata"].pop("managedFields", None)
        self._stores[TRAINING_JOBS].wrote(written)
        return written


def life_differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a decision was taken that must be written before it is acted on."""
    return any(before.get(name) != after.get(name) for name in _LIFE)


def merge_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) from one to the other; empty where they are equal."""
    difference: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if inner := merge_difference(old, value):
                difference[name] = inner
        elif old != value:
            difference[name] = value
    return difference
