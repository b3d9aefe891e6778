"""The CustomResourceDefinition of TrainingJob, generated from its types."""

from typing import Any, Final

from stepstream_operator.api.load import ASYNC_ONLY
from stepstream_operator.api.openapi import Schema, object_schema, validation
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.api.types import (
    GROUP,
    JOB_NAME_PATTERN,
    KIND,
    MAX_NAME_LENGTH,
    PLURAL,
    VERSION,
    TrainingJobSpec,
)
from stepstream_trainer.config import ASYNC_NAMES

SHORT_NAME: Final = "tjob"
CATEGORIES: Final = ("all", "stepstream")

_COLUMNS: Final = (
    ("Status", "string", ".status.phase", 0),
    ("Mode", "string", ".status.mode", 0),
    ("Learners", "string", ".status.learners.summary", 0),
    ("Simulators", "string", ".status.simulators.summary", 0),
    ("Steps", "string", ".status.progress.stepsSummary", 0),
    ("Steps/s", "integer", ".status.progress.stepsPerSecond", 0),
    ("Return", "string", ".status.progress.episodeReturn", 0),
    ("Progress", "string", ".status.progress.percent", 0),
    ("Restarts", "integer", ".status.restarts", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("ETA", "string", ".status.progress.remaining", 1),
    ("Checkpoint", "date", ".status.checkpoint.time", 1),
    ("Message", "string", ".status.message", 1),
)
"""Name, type, path, priority; those of priority 1 are shown by `-o wide`. Checkpoint is its age."""


def crd() -> dict[str, Any]:
    """The whole resource, as applied to a cluster."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": list(CATEGORIES),
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root_schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.simulators.replicas",
                "statusReplicasPath": ".status.simulators.replicas",
                "labelSelectorPath": ".status.simulators.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "priority": priority}
            for name, kind, path, priority in _COLUMNS
        ],
    }


def _root_schema() -> Schema:
    return {
        "type": "object",
        "description": "Trains an agent by deep reinforcement learning: learners on accelerators, simulators on CPUs.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec_schema(),
            "status": {"description": "How the job stands.", **object_schema(JobStatus, defaults=False)},
        },
        "x-kubernetes-validations": _name_rules(),
    }


def _spec_schema() -> Schema:
    schema = {"description": "What to train, on what, for how long.", **object_schema(TrainingJobSpec)}
    names = ", ".join(f"'{name}'" for name in ASYNC_NAMES)
    schema["x-kubernetes-validations"].append(
        validation(f"!(self.algorithm.name in [{names}]) || self.mode != 'Sync'", ASYNC_ONLY, "mode")
    )
    return schema


def _name_rules() -> list[Schema]:
    """The API server itself allows 253 characters, and dots."""
    return [
        {
            "rule": f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
            "message": f"metadata.name: must be at most {MAX_NAME_LENGTH} characters",
        },
        {
            "rule": f"self.metadata.name.matches('{JOB_NAME_PATTERN}')",
            "message": "metadata.name: must be lower-case letters, digits and '-', starting with a letter",
        },
    ]
