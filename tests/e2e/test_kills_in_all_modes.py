"""SIGKILL to any process at any moment, in every mode, with one learner or two: the job makes its steps.

One kill of an asynchronous pair by default, since other tests kill in other modes; `--thorough`: ten in each mode.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_run import LocalRun, local_run, write_job

KILLS, THOROUGH_KILLS = 1, 10
A2C: dict[str, Any] = {"name": "A2C"}
DQN: dict[str, Any] = {
    "name": "DQN",
    "parameters": {"replayCapacitySteps": 4000, "learningStartsSteps": 320, "trainingIntensity": 1.0},
}
MODES = [("Sync", 1, A2C), ("Async", 1, DQN), ("Auto", 1, A2C), ("Sync", 2, DQN), ("Async", 2, A2C)]
"""With so many learners."""
STEPS = 10**9
BUDGET_STEPS = 20_000
"""Beyond where the last kill left the job."""


def steps_of(run: LocalRun) -> int:
    history = run.history()
    return int(history[-1]["steps"]) if history else 0


def kill_one(run: LocalRun, rng: random.Random) -> str:
    """Gives the role of the process that was killed."""
    role = rng.choice(["learner", "simulator"])
    os.kill(rng.choice(sorted(run.pids(role))), signal.SIGKILL)
    return role


def end_at(path: Path, algorithm: dict[str, Any], mode: str, learners: int, steps: int) -> None:
    write_job(
        path,
        algorithm=algorithm,
        mode=mode,
        learners={"replicas": learners, "environments": 8},
        totalSteps=steps,
        backoffLimit=100,
        checkpoint={"intervalSeconds": 1, "includeReplay": False},
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    modes = MODES if metafunc.config.getoption("thorough") else MODES[-1:]
    names = [f"{mode}-{learners}" for mode, learners, _ in modes]
    metafunc.parametrize(("mode", "learners", "algorithm"), modes, ids=names)


@pytest.mark.timeout(1200)
def test_whatever_is_killed_the_job_makes_its_steps(
    mode: str, learners: int, algorithm: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = THOROUGH_KILLS if request.config.getoption("thorough") else KILLS
    rng = random.Random(f"{mode} {learners}")
    end_at(tmp_path / "cart.yaml", algorithm, mode, learners, STEPS)
    restarts_at_most = 0
    with local_run(tmp_path, "cart.yaml") as run:
        for _ in range(kills):
            began = steps_of(run)
            run.wait_until(lambda began=began: steps_of(run) != began, "steps")
            time.sleep(rng.uniform(0.0, 4.0))  # any moment
            restarts_at_most += kill_one(run, rng) == "learner"
        began = steps_of(run)
        run.wait_until(lambda: steps_of(run) > began, "steps after the last kill")
        run.interrupt()
        run.process.wait(60)
    goal = steps_of(run) + BUDGET_STEPS
    end_at(tmp_path / "cart.yaml", algorithm, mode, learners, goal)
    with local_run(tmp_path, "cart.yaml") as run:
        assert run.wait() == 0, run.output()
    assert run.history()[-1]["steps"] >= goal
    assert run.status()["restarts"] <= restarts_at_most
    for attempt, lines in itertools.groupby(run.history(), key=lambda line: line["attempt"]):
        steps = [line["steps"] for line in lines]
        assert all(earlier <= later for earlier, later in itertools.pairwise(steps)), f"attempt {attempt}: {steps}"
