"""The learners' headless Service: a host name for each rank that outlives attempts."""

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.containers import HTTP_PORT_NAME, STREAM_PORT_NAME
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import LEARNER, learners_name, role_labels, role_selector
from stepstream_trainer.config.contract import HTTP_PORT, STREAM_PORT


def learner_service(job: TrainingJob) -> Manifest:
    """Addresses are published before pods are ready: learners must find one another to become so."""
    child = manifest(job, "v1", "Service", learners_name(job.name), role_labels(job, LEARNER))
    child["spec"] = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": role_selector(job, LEARNER),
        "ports": [
            {"name": STREAM_PORT_NAME, "port": STREAM_PORT, "targetPort": STREAM_PORT_NAME, "protocol": "TCP"},
            {"name": HTTP_PORT_NAME, "port": HTTP_PORT, "targetPort": HTTP_PORT_NAME, "protocol": "TCP"},
        ],
    }
    return child
