"""The learners' headless Service: a host name for each rank that outlives attempts."""

from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.containers import (
    HTTP_PORT_NAME,
    RENDEZVOUS_PORT_NAME,
    STREAM_PORT_NAME,
    has_several_learners,
)
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import LEARNER, learners_name, role_labels, role_selector
from stepstream_trainer.config.contract import HTTP_PORT, RENDEZVOUS_PORT, STREAM_PORT


def learner_service(job: TrainingJob) -> Manifest:
    """Addresses are published before pods are ready: learners must find one another to become so."""
    child = manifest(job, "v1", "Service", learners_name(job.name), role_labels(job, LEARNER))
    child["spec"] = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": role_selector(job, LEARNER),
        "ports": [
            _port(STREAM_PORT_NAME, STREAM_PORT),
            _port(HTTP_PORT_NAME, HTTP_PORT),
            *([_port(RENDEZVOUS_PORT_NAME, RENDEZVOUS_PORT)] if has_several_learners(job) else []),
        ],
    }
    return child


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
