"""The trainer's configuration, as a file in every pod. Running pods see its changes within a minute or so."""

from typing import TypeVar

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.manifest import Manifest, manifest
from stepstream_operator.children.names import config_name, job_labels
from stepstream_operator.children.placement import CONFIG_FILE
from stepstream_trainer.config import CheckpointConfig, LearnerConfig, SimulatorsConfig, TrainerConfig, dump
from stepstream_trainer.config.fields import spec_fields

T = TypeVar("T", LearnerConfig, CheckpointConfig)


def config_map(job: TrainingJob, simulators: int) -> Manifest:
    child = manifest(job, "v1", "ConfigMap", config_name(job.name), job_labels(job))
    child["data"] = {CONFIG_FILE: dump(trainer_config(job, simulators))}
    return child


def trainer_config(job: TrainingJob, simulators: int) -> TrainerConfig:
    """What the trainer reads of a job; `simulators` is the number of them to expect."""
    spec = job.spec
    return TrainerConfig(
        job=job.name,
        namespace=job.namespace,
        seed=spec.seed,
        environment=spec.environment,
        algorithm=spec.algorithm,
        mode=spec.mode,
        total_steps=spec.total_steps,
        stop_when=spec.stop_when,
        learner=_narrowed(LearnerConfig, spec.learners),
        simulators=SimulatorsConfig(replicas=simulators),
        checkpoint=_narrowed(CheckpointConfig, spec.checkpoint),
        evaluation=spec.evaluation,
    )


def _narrowed(cls: type[T], wider: T) -> T:
    """The fields of a subclass's object that are `cls`'s own."""
    return cls(**{field.name: getattr(wider, field.name) for field in spec_fields(cls)})
