"""Each of the examples trains on this machine. What the first one learns is shown by the tour of the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stepstream_trainer.config import AlgorithmName
from tests.support.local_run import LocalRun, local_run

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
ON_POLICY = {AlgorithmName.A2C, AlgorithmName.PPO}
LITTLE_REPLAY = ("spec.algorithm.parameters.learningStartsSteps=256", "spec.algorithm.parameters.batchSize=16")


def run_example(directory: Path, example: Path, *changes: str) -> LocalRun:
    """To its end, in `directory`."""
    arguments = [word for change in changes for word in ("--set", change)]
    with local_run(directory, str(example), "--run-dir", "runs/cart", *arguments) as run:
        assert run.wait() == 0, run.output()
    assert run.status()["phase"] == "Succeeded"
    return run


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trains(example: Path, tmp_path: Path) -> None:
    spec: dict[str, Any] = yaml.safe_load(example.read_text())["spec"]
    changes = () if spec["algorithm"]["name"] in ON_POLICY else LITTLE_REPLAY
    run = run_example(tmp_path, example, "spec.totalSteps=512", *changes)
    assert run.history()[-1]["updates"] > 0
    assert list((run.run_directory / "checkpoints").glob("*.json"))
