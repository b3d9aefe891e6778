"""At most one learner is drained at a time; its checkpoint is written before it leaves."""

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import LEARNER, learners_name, role_labels, role_selector


def disruption_budget(job: TrainingJob) -> Manifest:
    """`minAvailable` as a number: for pods of a Job the API cannot work out any other form."""
    child = manifest(job, "policy/v1", "PodDisruptionBudget", learners_name(job.name), role_labels(job, LEARNER))
    child["spec"] = {
        "minAvailable": job.spec.learners.replicas - 1,
        "selector": {"matchLabels": role_selector(job, LEARNER)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child
