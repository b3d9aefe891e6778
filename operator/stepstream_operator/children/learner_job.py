"""The learners: one Indexed Job for each attempt.

A learner's failure fails the Job (`backoffLimit: 0`), and the operator starts the next attempt: only it counts, because
counts must outlive Jobs, and all learners of a set start together (docs/adr/0004-one-learner-job-per-attempt.md). A
disrupted pod, and one that left with EXIT_RESUME, are no failures: the Job's controller replaces them alone, even while
the operator is down.

Learners that share a parameter store (mode Async) come and go: one that fails is replaced alone, too, a few times an
attempt (docs/adr/0018-learners-that-share-a-store.md).
"""

from typing import Any, Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.claim import run_volume
from stepstream_operator.children.containers import learner_container, share_a_store
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import (
    ATTEMPT_LABEL,
    LEARNER,
    SAFE_TO_EVICT,
    SIMULATOR_IMAGE,
    learners_name,
    pod_labels,
    queue_labels,
    role_labels,
)
from stepstream_operator.children.placement import Placement
from stepstream_operator.children.pod_template import config_volume, pod_template, scratch_volume, with_volumes
from stepstream_operator.children.tls import tls_volumes
from stepstream_trainer.config import contract

GRACE_SECONDS: Final = 120
"""Time for the checkpoint that SIGTERM asks for; the largest, with a replay of 1M frames, is 7 GB."""

RETRIES_APART: Final = 3
"""Failures of each learner within an attempt that its job goes on through, where learners share a store."""


def learner_job(job: TrainingJob, attempt: int, placement: Placement) -> Manifest:
    labels = {**role_labels(job, LEARNER), ATTEMPT_LABEL: str(attempt), **queue_labels(job)}
    child = manifest(job, "batch/v1", "Job", learners_name(job.name), labels)
    child["metadata"]["annotations"] = {SIMULATOR_IMAGE: placement.images.simulator}
    child["spec"] = {
        "completionMode": "Indexed",
        "completions": job.spec.learners.replicas,
        "parallelism": job.spec.learners.replicas,
        **_limits(job),
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": _template(job, attempt, placement),
    }
    if queue_labels(job):
        child["spec"]["suspend"] = True  # Kueue lets it start when there is quota
    return child


def _template(job: TrainingJob, attempt: int, placement: Placement) -> dict[str, Any]:
    volumes = [
        config_volume(job, placement.config_dir),
        run_volume(job, placement),
        scratch_volume(),
        *tls_volumes(job, LEARNER, placement),
    ]
    container, pod_volumes = with_volumes(learner_container(job, attempt, placement), volumes)
    spec = {
        "subdomain": learners_name(job.name),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": pod_volumes,
    }
    labels = {**pod_labels(job, LEARNER), ATTEMPT_LABEL: str(attempt)}
    metadata = {"labels": labels, "annotations": {SAFE_TO_EVICT: "false"}}
    return pod_template(job, container, spec, metadata, job.spec.learners.template)


def _limits(job: TrainingJob) -> dict[str, Any]:
    if share_a_store(job):
        return {"backoffLimitPerIndex": RETRIES_APART, "maxFailedIndexes": 0}
    return {"backoffLimit": 0}


def _failure_rules() -> list[dict[str, Any]]:
    """In this order. A failure that none of them names fails the Job by its backoffLimit."""
    return [
        {"action": "FailJob", "onExitCodes": _exits_with(contract.EXIT_INVALID)},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": _exits_with(contract.EXIT_RESUME)},
    ]


def _exits_with(code: int) -> dict[str, Any]:
    return {"containerName": LEARNER, "operator": "In", "values": [code]}
