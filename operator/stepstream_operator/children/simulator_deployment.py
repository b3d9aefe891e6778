"""The simulators: one Deployment. Why not a Job: docs/adr/0003-simulators-are-a-deployment.md.

Neither the attempt nor the number of simulators appears in the pod template, so that changing them touches no pod that
stays.
"""

from typing import Any, Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.containers import simulator_container
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import (
    SIMULATOR,
    pod_labels,
    queue_labels,
    role_labels,
    role_selector,
    simulators_name,
)
from stepstream_operator.children.placement import Placement
from stepstream_operator.children.pod_template import config_volume, pod_template, scratch_volume, with_volumes
from stepstream_operator.children.tls import tls_volumes

GRACE_SECONDS: Final = 5
"""A simulator holds nothing that is worth saving."""


def simulator_deployment(job: TrainingJob, replicas: int, placement: Placement) -> Manifest:
    labels = {**role_labels(job, SIMULATOR), **queue_labels(job)}
    child = manifest(job, "apps/v1", "Deployment", simulators_name(job.name), labels)
    child["spec"] = {
        "replicas": replicas,
        "selector": {"matchLabels": role_selector(job, SIMULATOR)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 1,
        "template": _template(job, placement),
    }
    return child


def _template(job: TrainingJob, placement: Placement) -> dict[str, Any]:
    volumes = [
        config_volume(job, placement.config_dir),
        scratch_volume(),
        *tls_volumes(job, SIMULATOR, placement),
    ]
    container, pod_volumes = with_volumes(simulator_container(job, placement), volumes)
    spec = {"terminationGracePeriodSeconds": GRACE_SECONDS, "volumes": pod_volumes}
    metadata = {"labels": pod_labels(job, SIMULATOR)}
    return pod_template(job, container, spec, metadata, job.spec.simulators.template)
