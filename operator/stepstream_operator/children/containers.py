"""The two containers: command, environment, ports, probes. The same in a cluster and on one machine."""

from typing import Any, Final

from stepstream_operator.api import Resources, TrainingJob
from stepstream_operator.children.names import COMPLETION_INDEX, LEARNER, SIMULATOR
from stepstream_operator.children.placement import Placement
from stepstream_trainer.config import Mode, contract, to_mapping

HTTP_PORT_NAME: Final = "http"
STREAM_PORT_NAME: Final = "stream"
RENDEZVOUS_PORT_NAME: Final = "rendezvous"

COLLECTIVE_INTERFACE: Final = "GLOO_SOCKET_IFNAME"
"""Torch's Gloo takes the interface of the machine's own name otherwise, which a laptop may not resolve."""

Container = dict[str, Any]


def learner_container(job: TrainingJob, attempt: int, placement: Placement) -> Container:
    """Learner of the rank that the Job's controller writes on its pod."""
    variables = [
        _value(contract.CONFIG, placement.config_path),
        _value(contract.RUN_DIR, placement.run_dir),
        _field(contract.RANK, f"metadata.annotations['{COMPLETION_INDEX}']"),
        _value(contract.WORLD_SIZE, str(job.spec.learners.replicas)),
        _value(contract.ATTEMPT, str(attempt)),
        _value(contract.LISTEN, placement.listen),
        _value(*contract.SPIN),
        _value(contract.HTTP, placement.learner_http),
        _value(contract.FINAL_STATUS, placement.final_status),
        *(_rendezvous(placement) if has_several_learners(job) else []),
        *_tls(placement),
    ]
    ports = [_port(STREAM_PORT_NAME, contract.STREAM_PORT), _port(HTTP_PORT_NAME, contract.HTTP_PORT)]
    if has_several_learners(job):
        ports.append(_port(RENDEZVOUS_PORT_NAME, contract.RENDEZVOUS_PORT))
    return {
        "name": LEARNER,
        "image": placement.images.learner,
        "command": list(contract.LEARNER_COMMAND),
        "env": variables,
        "ports": ports,
        "startupProbe": _probe("/healthz", period_seconds=2, failures=300),  # torch, and a large checkpoint, take long
        "livenessProbe": _probe("/healthz", period_seconds=10, failures=6),
        "readinessProbe": _probe("/readyz", period_seconds=2, failures=2),
        **_common(job, job.spec.learners.resources),
    }


def simulator_container(job: TrainingJob, placement: Placement) -> Container:
    """A simulator, named after its pod. Nothing in it changes with the attempt or with the number of simulators."""
    variables = [
        _value(contract.CONFIG, placement.config_path),
        _field(contract.SIMULATOR, "metadata.name"),
        _value(contract.LEARNER, placement.learner),
        _value(contract.HTTP, placement.simulator_http),
        *_tls(placement),
    ]
    return {
        "name": SIMULATOR,
        "image": placement.images.simulator,
        "command": list(contract.SIMULATOR_COMMAND),
        "env": variables,
        "ports": [_port(HTTP_PORT_NAME, contract.HTTP_PORT)],
        "livenessProbe": _probe("/healthz", period_seconds=10, failures=6),
        "readinessProbe": _probe("/readyz", period_seconds=5, failures=2),
        **_common(job, job.spec.simulators.resources),
    }


def has_several_learners(job: TrainingJob) -> bool:
    return job.spec.learners.replicas > 1


def share_a_store(job: TrainingJob) -> bool:
    """Whether learners step apart, by parameters that all share."""
    return has_several_learners(job) and job.spec.mode is Mode.Async


def _rendezvous(placement: Placement) -> list[dict[str, Any]]:
    interface = placement.collective_interface
    return [
        _value(contract.RENDEZVOUS, placement.rendezvous),
        *([_value(COLLECTIVE_INTERFACE, interface)] if interface else []),
    ]


def _common(job: TrainingJob, resources: Resources) -> Container:
    """`FallbackToLogsOnError` puts a failed container's last log lines (2 KiB) into the pod's status."""
    policy = job.spec.image_pull_policy
    return {
        **({"imagePullPolicy": policy.value} if policy else {}),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {name: values for name, values in to_mapping(resources).items() if values},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _tls(placement: Placement) -> list[dict[str, Any]]:
    return [_value(contract.TLS_DIR, placement.tls_dir)] if placement.tls_dir else []


def _value(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, *, period_seconds: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT_NAME},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
