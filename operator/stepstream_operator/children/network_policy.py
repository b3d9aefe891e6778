"""Who may talk to a job's pods: its own simulators and learners, and anyone who reads metrics and status."""

from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import (
    JOB_LABEL,
    LEARNER,
    SIMULATOR,
    job_labels,
    network_policy_name,
    role_selector,
)
from stepstream_trainer.config.contract import HTTP_PORT, STREAM_PORT


def network_policy(job: TrainingJob) -> Manifest:
    """One policy for both roles: simulators do not listen on the stream port."""
    child = manifest(job, "networking.k8s.io/v1", "NetworkPolicy", network_policy_name(job.name), job_labels(job))
    child["spec"] = {
        "podSelector": {"matchLabels": {JOB_LABEL: job.name}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [_pods(job, SIMULATOR)], "ports": [_port(STREAM_PORT)]},
            {"from": [_pods(job, LEARNER)]},  # collective communication chooses its ports freely
            {"ports": [_port(HTTP_PORT)]},
        ],
    }
    return child


def _pods(job: TrainingJob, role: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": role_selector(job, role)}}


def _port(number: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": number}
