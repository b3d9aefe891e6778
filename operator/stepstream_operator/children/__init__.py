"""What a TrainingJob becomes: one policy per file, put together here."""

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.claim import checkpoint_claim
from stepstream_operator.children.config_map import config_map, trainer_config
from stepstream_operator.children.disruption_budget import disruption_budget
from stepstream_operator.children.learner_job import learner_job
from stepstream_operator.children.manifest import Manifest
from stepstream_operator.children.names import LEARNER, SIMULATOR
from stepstream_operator.children.network_policy import network_policy
from stepstream_operator.children.placement import Images, Placement, cluster_placement, local_placement
from stepstream_operator.children.process import Process, files, process, workload
from stepstream_operator.children.service import learner_service
from stepstream_operator.children.simulator_deployment import simulator_deployment
from stepstream_operator.children.stamp import stamped

__all__ = [
    "LEARNER",
    "SIMULATOR",
    "Images",
    "Manifest",
    "Placement",
    "Process",
    "cluster_placement",
    "desired_children",
    "files",
    "local_placement",
    "process",
    "trainer_config",
    "workload",
]


def desired_children(
    job: TrainingJob, attempt: int, placement: Placement, *, simulators: int | None = None
) -> list[Manifest]:
    """The manifests that should exist while the job runs or is suspended, in the order to create them.

    `attempt` is the learners' life, from 1. `simulators` is the number of them where the operator has chosen it, else
    the job's. A suspended job has no learners and no simulators, and keeps everything else.
    """
    replicas = job.spec.simulators.replicas if simulators is None else simulators
    claim = checkpoint_claim(job)
    children = [
        config_map(job, replicas),
        learner_service(job),
        network_policy(job),
        disruption_budget(job),
        *([claim] if claim else []),
        *([] if job.spec.suspend else [learner_job(job, attempt, placement)]),
        simulator_deployment(job, 0 if job.spec.suspend else replicas, placement),
    ]
    return [stamped(child) for child in children]
