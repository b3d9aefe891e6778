"""Simulators and learners die while a replay fills and is learned from: no step in it ever spans a gap.

An invariant checker walks the replay of a checkpoint that was written after each loss. `--thorough` goes on for five
minutes, with a loss every ten seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepstream_trainer.config import QLearningParameters, TrainerConfig, contract
from stepstream_trainer.learner.checkpoint import CheckpointStore
from stepstream_trainer.learner.families import replay_options
from stepstream_trainer.learner.replay_files import ReplayFiles
from stepstream_trainer.learner.reporting import STATUS_SECONDS
from stepstream_trainer.replay import Replay
from stepstream_trainer.replay.invariants import violations
from stepstream_trainer.replay.ring import STEPPED
from tests.support.job_processes import JobProcesses, config_of, job_processes
from tests.support.replays import layout_of

SIMULATORS = ("a", "b")
LEARNER_EVERY = 4
"""So many losses of simulators, and then one of the learner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """How many processes are lost, and the pause after each."""

    losses: int
    seconds: float


SHORT = Campaign(losses=LEARNER_EVERY + 2, seconds=2.0)
THOROUGH = Campaign(losses=30, seconds=10.0)

RETAIN = 30
"""None is removed while it is read, though a machine stands still for half a minute."""

ENDLESS: dict[str, Any] = {
    "mode": "Sync",
    "seed": 5,
    "totalSteps": 10**9,
    "learner": {"environments": 8, "groups": 2},
    "simulators": {"replicas": len(SIMULATORS)},
    "checkpoint": {"intervalSeconds": 1, "includeReplay": True, "retain": RETAIN},
}
# A gap must stay in the ring until it has been looked at: for seconds, of a thousand steps and more.
PARAMETERS = {"replayCapacitySteps": 8000, "learningStartsSteps": 500, "trainingIntensity": 1}
CARTPOLE = ENDLESS | {
    "job": "cartpole",
    "environment": {"id": "CartPole-v1", "deterministic": False},
    "algorithm": {"name": "EpsilonRainbow", "parameters": PARAMETERS | {"replayCapacitySteps": 40_000}},
}
PONG = ENDLESS | {
    "job": "pong",
    "environment": {"id": "ALE/Pong-v5", "deterministic": False},
    "algorithm": {"name": "DQN", "parameters": PARAMETERS | {"nStep": 3}},
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("job", "frame_shape"), [pytest.param(CARTPOLE, (4,), id="CartPole"), pytest.param(PONG, (84, 84), id="Pong")]
)
def test_no_step_in_a_replay_spans_a_lost_process(
    job: dict[str, Any], frame_shape: tuple[int, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    campaign = THOROUGH if request.config.getoption("thorough") else SHORT
    config, store = config_of(job), CheckpointStore(tmp_path / "checkpoints", retain=RETAIN)
    with job_processes(config, tmp_path, simulators=len(SIMULATORS)) as processes:
        processes.start_learner()
        processes.start_simulators(*SIMULATORS)
        processes.reach(1000)
        for number in range(1, campaign.losses + 1):
            lose_one(processes, number)
            pause(processes, 2 * STATUS_SECONDS)  # what /status says may be of before the loss
            processes.wait_until(lambda: processes.status().get("steps", 0) > 0, "steps since the loss")
            enough = processes.status()["steps"] + 200
            processes.wait_until(lambda enough=enough: bool(since(store, enough)), "a checkpoint since the loss")
            walk(saved_replay(config, frame_shape, store, since(store, enough)[0]))
            pause(processes, campaign.seconds)
        learner = processes.learner
        assert learner is not None
        learner.terminate()
        assert learner.wait(60) == contract.EXIT_RESUME, processes.log()
    assert violations(saved_replay(config, frame_shape, store, since(store, 0)[-1])) == []


def pause(processes: JobProcesses, seconds: float) -> None:
    ends = time.monotonic() + seconds
    processes.wait_until(lambda: time.monotonic() >= ends, "a pause")


def lose_one(processes: JobProcesses, number: int) -> None:
    """SIGKILL, and a successor at once."""
    if number % LEARNER_EVERY:
        simulator = SIMULATORS[number % len(SIMULATORS)]
        slots = f"{simulator} serves slots that can be lost"
        processes.wait_until(lambda: sum(processes.status(simulator).get("leases", ())) > 0, slots)
        processes.restart_simulator(simulator)
        return
    assert processes.learner is not None
    processes.kill(processes.learner)
    processes.start_learner()
    processes.wait_until(lambda: "resumed" in processes.log(), "the learner goes on from its checkpoint")


def since(store: CheckpointStore, steps: int) -> list[Path]:
    """Manifests of the checkpoints that have so many steps or more, oldest first."""
    return sorted(path for path in store.directory.glob("checkpoint-*.json") if path >= store.manifest_path(steps))


def walk(replay: Replay) -> None:
    """It has gaps, and no step that can be sampled spans one."""
    assert violations(replay) == []
    assert gaps(replay) > 0


def gaps(replay: Replay) -> int:
    """Rows, besides each slot's newest, whose outcome nobody saw; these jobs truncate no episode."""
    ring = replay.ring
    held = sum(min(int(newest) + 1, ring.rows_per_slot) for newest in ring.newest_B)
    return held - int(np.count_nonzero(ring.flags & STEPPED)) - ring.num_slots


def saved_replay(config: TrainerConfig, frame_shape: tuple[int, ...], store: CheckpointStore, manifest: Path) -> Replay:
    """The replay of that checkpoint."""
    parameters = config.algorithm.parameters
    assert isinstance(parameters, QLearningParameters)
    depth = config.environment.atari.frame_stack if config.environment.is_atari else 1
    replay = Replay(replay_options(config, parameters), layout_of(frame_shape, depth), device=torch.device("cpu"))
    files = ReplayFiles(replay, store.directory)
    files.restore(store.load(manifest)[1]["replay"])
    files.close()
    return replay
