"""Several learners in mode Sync: one path, that of a single learner with all their slots, whatever is killed on it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from stepstream_trainer.learner.checkpoint import CheckpointStore
from tests.support.local_run import LocalRun, local_run, write_job

SLOTS = 8
A2C: dict[str, Any] = {"name": "A2C"}
PPO_WHOLE_ROLLOUTS: dict[str, Any] = {
    "name": "PPO",
    "parameters": {"horizon": 16, "minibatchSize": 16 * 2 * SLOTS, "normalizeAdvantages": True},
}
"""Where a minibatch is all there is, who shuffles what makes no difference."""
DQN: dict[str, Any] = {
    "name": "DQN",
    "parameters": {"replayCapacitySteps": 2000, "learningStartsSteps": 320, "trainingIntensity": 4.0},
}
ITERATION_STEPS = 2 * SLOTS * 5


def job(path: Path, algorithm: dict[str, Any], *, learners: int, steps: int, **changes: Any) -> Path:
    slots = {"environments": 2 * SLOTS // learners, "groups": 1, "replicas": learners}
    return write_job(path, algorithm=algorithm, learners=slots, totalSteps=steps, **changes)


def parameters_of(run: LocalRun) -> torch.Tensor:
    found = CheckpointStore(run.run_directory / "checkpoints", retain=1).load_latest(warn=pytest.fail)
    assert found is not None
    return torch.cat([tensor.flatten() for _, tensor in sorted(found[1]["network"].items())])


def digests_of(run: LocalRun, rank: int) -> list[str]:
    """Of the parameters at the end of each of the learner's lives that had one."""
    return re.findall(r"finished.*parameters=([0-9a-f]{64})", run.log(f"learner-{rank}"))


def complete(directory: Path, algorithm: dict[str, Any], *, learners: int, steps: int) -> LocalRun:
    directory.mkdir()
    job(directory / "cart.yaml", algorithm, learners=learners, steps=steps)
    with local_run(directory, "cart.yaml") as run:
        assert run.wait() == 0, run.output()
    return run


@pytest.mark.parametrize(
    ("algorithm", "steps"), [(A2C, 20 * ITERATION_STEPS), (PPO_WHOLE_ROLLOUTS, 6 * 16 * 2 * SLOTS)], ids=["A2C", "PPO"]
)
def test_two_learners_take_the_path_of_one_with_all_their_slots(
    algorithm: dict[str, Any], steps: int, tmp_path: Path
) -> None:
    one = complete(tmp_path / "one", algorithm, learners=1, steps=steps)
    two = complete(tmp_path / "two", algorithm, learners=2, steps=steps)
    assert one.history()[-1]["steps"] == two.history()[-1]["steps"] == steps
    assert one.history()[-1]["updates"] == two.history()[-1]["updates"]
    assert one.history()[-1]["episodes"] == two.history()[-1]["episodes"], "rank 0 counts everybody's"
    assert one.history()[-1]["episodes"] < 100, "all are in the mean"
    assert one.history()[-1]["episodeReturn"] == pytest.approx(two.history()[-1]["episodeReturn"])
    # Sums are made in another order, and each update adds to the difference.
    torch.testing.assert_close(parameters_of(two), parameters_of(one), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("algorithm", [A2C, DQN], ids=["A2C", "DQN"])
def test_all_learners_end_with_the_same_parameters_and_so_does_another_run(
    algorithm: dict[str, Any], tmp_path: Path
) -> None:
    steps = 3200
    runs = [complete(tmp_path / name, algorithm, learners=2, steps=steps) for name in ("once", "again")]
    digests = [digests_of(run, rank) for run in runs for rank in (0, 1)]
    assert all(len(each) == 1 for each in digests)
    assert len({each[0] for each in digests}) == 1


def test_an_edited_budget_anneals_all_learners_alike(tmp_path: Path) -> None:
    annealed = A2C | {"parameters": {"anneal": True}}
    job(tmp_path / "cart.yaml", annealed, learners=2, steps=10**9, checkpoint={"intervalSeconds": 1})
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_for_checkpoint()
        run.edit(totalSteps=run.newest_checkpoint() + 60_000)
        assert run.wait() == 0, run.output()
    assert digests_of(run, 0) == digests_of(run, 1) != []


def test_whatever_is_killed_on_the_way_the_learners_end_where_they_would_have_ended(tmp_path: Path) -> None:
    steps = 800 * ITERATION_STEPS
    undisturbed = complete(tmp_path / "undisturbed", A2C, learners=2, steps=steps)
    directory = tmp_path / "disturbed"
    directory.mkdir()
    job(
        directory / "cart.yaml",
        A2C,
        learners=2,
        steps=steps,
        checkpoint={"intervalSeconds": 1, "includeReplay": False},
        backoffLimit=10,
    )
    with local_run(directory, "cart.yaml") as run:
        run.wait_for_checkpoint()
        os.kill(run.pids("simulator")[0], signal.SIGKILL)
        run.wait_for_checkpoint()
        os.kill(run.pids("learner")[-1], signal.SIGTERM)  # drained: all stop, and go on within the attempt
        run.wait_until(lambda: "asked to be started again" in run.output(), "the learners to come back")
        run.wait_for_checkpoint()
        os.kill(run.pids("learner")[-1], signal.SIGKILL)
        assert run.wait() == 0, run.output()
    assert run.status()["restarts"] == 1, "a drain does not count"
    assert run.history()[-1]["steps"] == steps
    assert digests_of(run, 0)[-1:] == digests_of(run, 1)[-1:] == digests_of(undisturbed, 0)
