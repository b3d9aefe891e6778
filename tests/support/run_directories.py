"""Run directories with an agent in them that has learned nothing: what evaluate and video read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepstream_trainer.algorithms.playing import build_playing
from stepstream_trainer.algorithms.precision import choose_precision
from stepstream_trainer.config import Precision, TrainerConfig, dump, parse
from stepstream_trainer.learner.checkpoint import CheckpointStore
from stepstream_trainer.learner.identity import identity_digest
from stepstream_trainer.learner.observing import observing
from stepstream_trainer.simulator.environments import make_batch

PPO: Mapping[str, Any] = {"name": "PPO", "parameters": {}}


def write_run(
    directory: Path, environment: dict[str, Any], *, steps: int = 1000, algorithm: Mapping[str, Any] = PPO
) -> Path:
    """A run in this environment, stopped at `steps` with the parameters it began with."""
    given = {"job": "untrained", "environment": environment, "algorithm": dict(algorithm)}
    config = parse(TrainerConfig, given, path="")
    (directory / "config").mkdir(parents=True)
    (directory / "config" / "job.json").write_text(dump(config))
    batch = make_batch(config.environment, 1)
    batch.close()
    spaces = batch.spaces
    seen = observing(config.environment, spaces.shape, spaces.dtype, spaces.num_categories)
    precision = choose_precision(Precision.Auto)
    network = build_playing(
        config.algorithm.parameters, seen.network_input, spaces.num_actions, seed=0, precision=precision
    ).network
    store = CheckpointStore(directory / "checkpoints", retain=3)
    store.save({"network": network.state_dict()}, step=steps, updates=1, attempt=1, job_digest=identity_digest(config))
    return directory
