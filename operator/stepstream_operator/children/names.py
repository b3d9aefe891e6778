"""Names, labels and annotations of a job's children. All of them follow from the job's name."""

from collections.abc import Mapping
from typing import Final

from stepstream_operator.api import GROUP, TrainingJob

LEARNER: Final = "learner"
SIMULATOR: Final = "simulator"

JOB_LABEL: Final = f"{GROUP}/job"
ROLE_LABEL: Final = f"{GROUP}/role"
ATTEMPT_LABEL: Final = f"{GROUP}/attempt"
"""On the learners' Job and its pods: which life of the learner set they are."""

JOB_UID_LABEL: Final = f"{GROUP}/job-uid"
"""On pods, and in no selector: which job they are of, where one was deleted and another made under its name."""

SIMULATOR_IMAGE: Final = f"{GROUP}/simulator-image"
"""Annotation of the learners' Job: the image of the simulators that speak with them, for as long as they live."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE: Final = "stepstream"
NAME_LABEL: Final = "app.kubernetes.io/name"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"

QUEUE_LABELS: Final = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class")
SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"


def learners_name(job_name: str) -> str:
    """The learners' Job, Service and PodDisruptionBudget. Learner r's host name is this with `-r`."""
    return f"{job_name}-learner"


def simulators_name(job_name: str) -> str:
    """The simulators' Deployment."""
    return f"{job_name}-simulator"


def config_name(job_name: str) -> str:
    """The ConfigMap with job.json."""
    return f"{job_name}-config"


def tls_secret_name(job_name: str) -> str:
    """The Secret with the job's certificates; the controller fills it."""
    return f"{job_name}-tls"


def claim_name(job_name: str) -> str:
    """The PersistentVolumeClaim made from checkpoint.volume.claimTemplate."""
    return f"{job_name}-checkpoints"


def network_policy_name(job_name: str) -> str:
    return job_name


def job_labels(job: TrainingJob) -> dict[str, str]:
    """On every child."""
    return {JOB_LABEL: job.name, NAME_LABEL: "stepstream", MANAGED_BY_LABEL: MANAGED_BY_VALUE}


def role_labels(job: TrainingJob, role: str) -> dict[str, str]:
    """On every child of one role."""
    return {**job_labels(job), COMPONENT_LABEL: role, ROLE_LABEL: role}


def pod_labels(job: TrainingJob, role: str) -> dict[str, str]:
    """On every pod of one role."""
    return {**role_labels(job, role), JOB_UID_LABEL: job.metadata.uid}


def role_selector(job: TrainingJob, role: str) -> dict[str, str]:
    """What selects the pods of one role. Never changes: a Deployment's selector is immutable."""
    return {JOB_LABEL: job.name, ROLE_LABEL: role}


def queue_labels(job: TrainingJob) -> Mapping[str, str]:
    """Kueue's labels, as the job has them."""
    return {name: job.metadata.labels[name] for name in QUEUE_LABELS if name in job.metadata.labels}
