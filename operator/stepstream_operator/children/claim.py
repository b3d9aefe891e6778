"""The volume of a job's checkpoints, and the claim for it where the job brings a template."""

import posixpath
from typing import Any, Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import claim_name, job_labels
from stepstream_operator.children.placement import Placement
from stepstream_operator.children.pod_template import Volume, mounted

RUN_VOLUME: Final = "run"


def checkpoint_claim(job: TrainingJob) -> Manifest | None:
    """The PersistentVolumeClaim of checkpoint.volume.claimTemplate, if any."""
    volume = job.spec.checkpoint.volume
    if volume is None or volume.claim_template is None:
        return None
    template = volume.claim_template
    child = manifest(job, "v1", "PersistentVolumeClaim", claim_name(job.name), job_labels(job))
    child["spec"] = {
        "accessModes": [mode.value for mode in template.access_modes],
        "resources": {"requests": {"storage": template.size}},
    }
    if template.storage_class_name is not None:
        child["spec"]["storageClassName"] = template.storage_class_name
    return child


def run_volume(job: TrainingJob, placement: Placement) -> tuple[Volume, Volume]:
    """Mounted above the run directory, which the learner makes: several jobs may share one volume."""
    return mounted(RUN_VOLUME, posixpath.dirname(placement.run_dir), _source(job), read_only=False)


def _source(job: TrainingJob) -> dict[str, Any]:
    volume = job.spec.checkpoint.volume
    if volume is None:
        return {"emptyDir": {}}
    if volume.source is not None:
        return dict(volume.source)
    return {"persistentVolumeClaim": {"claimName": volume.claim_name or claim_name(job.name)}}
