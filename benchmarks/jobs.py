"""The job that Stepstream is measured with: the common settings as a TrainingJob."""

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.settings import SETTINGS
from stepstream_operator.api import load_job
from stepstream_operator.children import cluster_placement, desired_children
from stepstream_operator.children.process import files
from stepstream_trainer.config import TrainerConfig, load_trainer_config

ENDLESS = 2_000_000_000

PARAMETERS: dict[str, dict[str, Any]] = {
    "A2C": {"horizon": SETTINGS.a2c_horizon},
    "PPO": {
        "horizon": SETTINGS.ppo_horizon,
        "minibatchSize": SETTINGS.ppo_minibatch,
        "epochs": SETTINGS.ppo_epochs,
    },
    "DQN": {
        "batchSize": SETTINGS.dqn_batch,
        "trainingIntensity": SETTINGS.dqn_intensity,
        "replayCapacitySteps": SETTINGS.dqn_replay,
        "learningStartsSteps": SETTINGS.dqn_starts,
    },
}
"""What all programs have in common, by algorithm."""


def manifest(algorithm: str, environments: int) -> dict[str, Any]:
    """What the settings do not say is the default, but for one group: simulators share the learner's cores."""
    return {
        "apiVersion": "stepstream.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "benchmark"},
        "spec": {
            "environment": {"id": SETTINGS.game},
            "algorithm": {"name": algorithm, "parameters": PARAMETERS[algorithm]},
            "mode": "Sync",
            "totalSteps": ENDLESS,
            "learners": {"environments": environments, "groups": 1},
            "simulators": {"replicas": 1},
        },
    }


def write_job(path: Path, algorithm: str, environments: int) -> None:
    path.write_text(yaml.safe_dump(manifest(algorithm, environments)))


def trainer_config(algorithm: str, environments: int) -> TrainerConfig:
    """The configuration that a learner of the job reads, by the same way as in a cluster."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.yaml")
        write_job(path, algorithm, environments)
        job = load_job(path)
        (text,) = files(desired_children(job, 1, cluster_placement(job, tls=False))).values()
        path.write_text(json.dumps(json.loads(text)))
        return load_trainer_config(path)
