"""Sampling ahead of learning: jobs reach their end with every count in its place, whatever is killed on the way."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from stepstream_trainer import trace
from tests.support.local_run import LONG, LocalRun, local_run, write_job

SLOTS, HORIZON = 8, 32
Q_PARAMETERS: dict[str, Any] = {
    "replayCapacitySteps": 2000,
    "learningStartsSteps": 400,
    "trainingIntensity": 4.0,
    "targetUpdateSteps": 300,
    "epsilonDecaySteps": 1000,
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "A2C": {},
    "PPO": {"horizon": HORIZON, "minibatchSize": 128},
    "DQN": Q_PARAMETERS,
    "CategoricalDQN": Q_PARAMETERS,
    "EpsilonRainbow": Q_PARAMETERS,
}
TOTAL_STEPS = 1280
"""A whole number of iterations of each algorithm."""


def final_status(run: LocalRun) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((run.run_directory / "final-status.json").read_text())
    return answer


def updates_due(algorithm: str, steps: int) -> int:
    """As many as in Sync."""
    if algorithm in ("A2C", "PPO"):
        return steps // (SLOTS * (5 if algorithm == "A2C" else HORIZON))
    return math.floor(Q_PARAMETERS["trainingIntensity"] * (steps - Q_PARAMETERS["learningStartsSteps"]) / 32)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_job_makes_the_steps_and_the_updates_that_it_would_make_in_sync(algorithm: str, tmp_path: Path) -> None:
    parameters = {"name": algorithm, "parameters": ALGORITHMS[algorithm]}
    write_job(tmp_path / "cart.yaml", mode="Async", algorithm=parameters, totalSteps=TOTAL_STEPS)
    with local_run(tmp_path, "cart.yaml") as run:
        assert run.wait() == 0, run.output()
    found = final_status(run)
    assert (found["mode"], found["steps"]) == ("Async", TOTAL_STEPS)
    assert found["updates"] == updates_due(algorithm, TOTAL_STEPS)
    if algorithm in ("A2C", "PPO"):
        assert 0 <= found["policyLag"] <= 1, "one iteration ahead at most"
    assert trace.main([str(run.run_directory)]) == 0
    events = json.loads((run.run_directory / "trace.json").read_text())["traceEvents"]
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    seen = {(threads[event["tid"]], event["name"]) for event in events if event["ph"] == "X"}
    assert {("sampler", "wait"), ("sampler", "inference"), ("MainThread", "optimise"), ("MainThread", "idle")} <= seen


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_whatever_is_killed_the_job_ends_with_the_steps_it_was_asked_for(algorithm: str, tmp_path: Path) -> None:
    parameters = {"name": algorithm, "parameters": ALGORITHMS[algorithm]}
    checkpoint = {"intervalSeconds": 1, "includeReplay": True}
    total = 40 * TOTAL_STEPS
    write_job(
        tmp_path / "cart.yaml",
        mode="Async",
        algorithm=parameters,
        totalSteps=total,
        checkpoint=checkpoint,
        backoffLimit=20,
    )
    chance = random.Random(5)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_for_steps()
        for role in ("simulator", "learner", "simulator"):
            time.sleep(chance.uniform(0.5, 2.0))
            for pid in run.pids(role)[:1]:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, signal.SIGKILL)
        assert run.wait() == 0, run.output()
    found = final_status(run)
    assert found["steps"] == total
    assert found["updates"] == updates_due(algorithm, total)


@pytest.mark.parametrize("learners", [1, 2])
def test_auto_measures_both_modes_and_says_which_it_took_and_why(learners: int, tmp_path: Path) -> None:
    """Several learners change the mode after the same update, and stay alike."""
    write_job(tmp_path / "cart.yaml", mode="Auto", learners={"replicas": learners, "environments": 8}, **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_until(lambda: "modeDecision" in run.status(), "the decision")
        run.interrupt()
        assert run.wait() == 130, run.output()
    decision = run.status()["modeDecision"]
    assert decision["selected"] in ("Sync", "Async")
    assert decision["syncStepsPerSecond"] > 0
    assert decision["asyncStepsPerSecond"] > 0
    assert f"mode {decision['selected']}: {decision['reason']}" in run.output()
    assert "Calibrating" in run.output()
    logs = [run.log(f"learner-{rank}") for rank in range(learners)]
    ended = [re.search(r"interrupted parameters=([0-9a-f]{64})", log) for log in logs]
    assert None not in ended
    assert len({found[1] for found in ended if found}) == 1
