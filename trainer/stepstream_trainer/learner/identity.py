"""Which job a checkpoint belongs to: what may not change between one attempt and the next."""

from __future__ import annotations

import hashlib
import json

from stepstream_trainer.config import TrainerConfig, to_mapping


class OtherJobError(Exception):
    """A checkpoint was made by a job that differs in what may not change."""


def identity_digest(config: TrainerConfig) -> str:
    """SHA-256, hexadecimal, of the fields that are immutable while a job lives: equal digests can share checkpoints."""
    fields = {
        "environment": to_mapping(config.environment),
        "algorithm": to_mapping(config.algorithm),
        "seed": config.seed,
        "replicas": config.learner.replicas,
        "environments": config.learner.environments,
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
