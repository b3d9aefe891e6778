"""Several learners in mode Async: they share a parameter store, come and go, and end together."""

from __future__ import annotations

import itertools
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_run import LocalRun, local_run, write_job

DQN: dict[str, Any] = {
    "name": "DQN",
    "parameters": {"replayCapacitySteps": 4000, "learningStartsSteps": 320, "trainingIntensity": 4.0},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "A3C": {"name": "A3C"},
    "APPO": {"name": "APPO", "parameters": {"horizon": 16, "minibatchSize": 64}},
    "DQN": DQN,
}
ENDLESS = 10**9
ITERATION_STEPS = 8 * 16
"""At most, of one learner."""


def job(path: Path, algorithm: dict[str, Any], *, steps: int, **changes: Any) -> Path:
    slots = {"environments": 8, "replicas": 2}
    return write_job(path, algorithm=algorithm, mode="Async", learners=slots, totalSteps=steps, **changes)


def rises(steps: list[int]) -> bool:
    return all(earlier <= later for earlier, later in itertools.pairwise(steps))


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_two_learners_make_the_steps_that_were_asked_for(algorithm: dict[str, Any], tmp_path: Path) -> None:
    steps = 40_000
    job(tmp_path / "cart.yaml", algorithm, steps=ENDLESS)
    with local_run(tmp_path, "cart.yaml") as run:
        joins(run, 1)
        run.edit(totalSteps=steps)  # both are at work now, however late one came
        assert run.wait() == 0, run.output()
    last = run.history()[-1]
    assert steps <= last["steps"] < ENDLESS
    assert rises([line["steps"] for line in run.history()])
    for rank in (0, 1):
        assert "finished" in run.log(f"learner-{rank}")
    assert 'by="shared memory"' in run.log("learner-1")
    [mine] = re.findall(r"learner_left rank=1 steps=(\d+)", run.log("learner-0"))
    assert 0 < int(mine) < last["steps"], "both did a part of it"
    if algorithm is DQN:  # of all steps but the first 320, each is learned from 4 times, in samples of 32
        due = 4.0 * (last["steps"] - 320) / 32
        assert last["updates"] == pytest.approx(due, abs=2 * ITERATION_STEPS * 4 / 32), "a stint may be under way"


def test_while_the_last_agent_is_evaluated_no_learner_goes_on(tmp_path: Path) -> None:
    steps = 2_000
    evaluation = {"intervalSteps": steps, "episodes": 50}
    job(tmp_path / "cart.yaml", {"name": "A3C"}, steps=steps, evaluation=evaluation)
    with local_run(tmp_path, "cart.yaml") as run:
        assert run.wait() == 0, run.output()
    [mine] = re.findall(r"learner_left rank=1 steps=(\d+)", run.log("learner-0"))
    assert list((run.run_directory / "evaluations").glob("*.json"))
    assert int(mine) <= run.history()[-1]["steps"] + ITERATION_STEPS


def test_a_learner_that_is_killed_is_replaced_and_the_other_does_not_notice(tmp_path: Path) -> None:
    job(tmp_path / "cart.yaml", {"name": "A3C"}, steps=ENDLESS)
    with local_run(tmp_path, "cart.yaml") as run:
        joins(run, 1)
        first = run.pids("learner")[0]
        os.kill(run.pids("learner")[1], signal.SIGKILL)
        joins(run, 2)
        assert run.pids("learner")[0] == first
        os.kill(run.pids("learner")[1], signal.SIGTERM)  # drained: it leaves alone
        joins(run, 3)
        assert run.pids("learner")[0] == first
        stop(run)
    assert (run.status()["attempt"], run.status()["restarts"]) == (1, 0)
    assert "resumed" not in run.log("learner-0")
    assert rises([line["steps"] for line in run.history()])


def test_without_rank_0_all_go_on_from_the_newest_checkpoint(tmp_path: Path) -> None:
    job(
        tmp_path / "cart.yaml",
        ALGORITHMS["APPO"],
        steps=ENDLESS,
        checkpoint={"intervalSeconds": 1, "includeReplay": False},
    )
    with local_run(tmp_path, "cart.yaml") as run:
        joins(run, 1)
        run.wait_until(lambda: "checkpoint_written" in run.log("learner-0"), "a checkpoint")
        os.kill(run.pids("learner")[0], signal.SIGKILL)
        run.wait_until(lambda: "resumed" in run.log("learner-0"), "rank 0 to resume")
        resumed_at = int(re.findall(r"resumed .*steps=(\d+)", run.log("learner-0"))[0])
        joins(run, 2)
        run.wait_for_steps(more_than=resumed_at)
        stop(run)
    assert resumed_at > 0
    assert "asked to be started again" in run.output(), "rank 1 does not count as a failure"
    assert run.status()["restarts"] == 0


def joins(run: LocalRun, times: int) -> None:
    """Waits until rank 1 has come to the store so often, and both learn."""
    run.wait_until(lambda: run.log("learner-0").count("learner_joined") == times, f"rank 1 to join, {times} times")
    run.wait_until(lambda: run.log("learner-1").count("by=") == times, "rank 1 to have the parameters")


def stop(run: LocalRun) -> None:
    run.interrupt()
    assert run.wait() == 130, run.output()
