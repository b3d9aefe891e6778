"""In Sync mode a job's parameters are a function of the job: of no arrival order, no crash, no number of simulators."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stepstream_trainer.config import TrainerConfig, contract
from tests.support.certificates import mount, new_certificates
from tests.support.job_processes import (
    PATIENCE_SECONDS,
    JobProcesses,
    TooLateError,
    config_of,
    disturbed,
    job_processes,
)

CARTPOLE = {
    "job": "cartpole",
    "mode": "Sync",
    "seed": 7,
    "totalSteps": 16 * 64 * 12,
    "environment": {"id": "CartPole-v1", "deterministic": True},
    "algorithm": {"name": "PPO", "parameters": {"horizon": 64, "minibatchSize": 256}},
    "learner": {"environments": 16, "groups": 2},
    "checkpoint": {"intervalSeconds": 1},
}
A2C = CARTPOLE | {"totalSteps": 16 * 5 * 150, "algorithm": {"name": "A2C"}}
PONG = {
    "job": "pong",
    "mode": "Sync",
    "seed": 3,
    "totalSteps": 8 * 32 * 10,
    "environment": {"id": "ALE/Pong-v5", "atari": {"stickyActionProbability": "0.25", "maxEpisodeSteps": 60}},
    "algorithm": {"name": "PPO", "parameters": {"horizon": 32, "minibatchSize": 128}},
    "learner": {"environments": 8, "groups": 2},
    "checkpoint": {"intervalSeconds": 1},
}
RAINBOW = CARTPOLE | {
    "totalSteps": 8 * 1600,
    "algorithm": {
        "name": "EpsilonRainbow",
        "parameters": {
            "replayCapacitySteps": 4000,  # the ring comes round
            "learningStartsSteps": 1000,
            "trainingIntensity": 2.5,
            "targetUpdateSteps": 500,
            "epsilonDecaySteps": 5000,
            "lowestFinalEpsilon": 0.001,
        },
    },
    "learner": {"environments": 8, "groups": 2},
    "checkpoint": {"intervalSeconds": 1, "includeReplay": True},
}
PONG_DQN = PONG | {
    "totalSteps": 8 * 400,
    "algorithm": {
        "name": "DQN",
        "parameters": {"replayCapacitySteps": 2000, "learningStartsSteps": 1000, "trainingIntensity": 1},
    },
    "checkpoint": {"intervalSeconds": 1, "includeReplay": True},
}
NAMED = {
    "CartPole": CARTPOLE,
    "Pong": PONG,
    "CartPole-A2C": A2C,
    "CartPole-Rainbow": RAINBOW,
    "Pong-DQN": PONG_DQN,
}
JOBS = [
    pytest.param(job, id=name, marks=pytest.mark.xdist_group(f"determinism of {name}")) for name, job in NAMED.items()
]
FOUR = ("a", "b", "c", "d")


@pytest.fixture(scope="module", params=JOBS)
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainerConfig, str]:
    """A job, and the digest of the parameters it ends with when one simulator serves it in peace."""
    config = config_of(request.param)
    return config, digest_in_peace(config, tmp_path_factory.mktemp("undisturbed"))


def digest_in_peace(config: TrainerConfig, directory: Path, *, threads: int = 1) -> str:
    with job_processes(config, directory, threads=threads) as job:
        job.start_learner()
        job.start_simulators("only")
        return job.finish()


def test_four_simulators_give_the_parameters_of_one(undisturbed: tuple[TrainerConfig, str], tmp_path: Path) -> None:
    config, expected = undisturbed
    with job_processes(config, tmp_path, simulators=4) as job:
        job.start_learner()
        job.start_simulators(*FOUR)
        assert job.finish() == expected


def test_several_threads_give_the_same_parameters_each_time(tmp_path: Path) -> None:
    config = config_of(PONG | {"totalSteps": 8 * 32 * 4})
    first, second = (digest_in_peace(config, tmp_path / run, threads=2) for run in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("undisturbed", JOBS[:2], indirect=True)  # the wire knows no algorithms
def test_certificates_change_nothing(undisturbed: tuple[TrainerConfig, str], tmp_path: Path) -> None:
    config, expected = undisturbed

    def lose_a(job: JobProcesses) -> None:
        job.reach(config.total_steps // 3)
        job.restart_simulator("a")

    certificates = mount(new_certificates(), tmp_path / "tls")
    assert disturbed(config, tmp_path, lose_a, *FOUR, certificates=certificates).digest() == expected


def test_killed_simulators_change_nothing(undisturbed: tuple[TrainerConfig, str], tmp_path: Path) -> None:
    config, expected = undisturbed

    def lose_all(job: JobProcesses) -> None:
        for turn, name in enumerate(FOUR):
            job.reach((turn + 1) * config.total_steps // 6)
            job.restart_simulator(name)

    assert disturbed(config, tmp_path, lose_all, *FOUR).digest() == expected


def test_a_drained_learner_goes_on_exactly(undisturbed: tuple[TrainerConfig, str], tmp_path: Path) -> None:
    config, expected = undisturbed
    job = disturbed(config, tmp_path, lambda job: drain(job, config.total_steps // 3), "only")
    assert job.digest() == expected
    assert "resumed" in job.log()


def drain(job: JobProcesses, steps: int) -> None:
    """The learner is asked to leave after so many steps, and comes back."""
    job.reach(steps)
    assert job.learner is not None
    job.learner.terminate()
    code = job.learner.wait(PATIENCE_SECONDS)
    if code == contract.EXIT_DONE:
        raise TooLateError
    assert code == contract.EXIT_RESUME, job.log()
    job.start_learner()


@pytest.mark.timeout(900)
def test_a_learner_killed_twenty_times_goes_on_exactly(tmp_path: Path) -> None:
    """Every fourth time while it starts, the others while it samples, learns, or saves; as many jobs as that takes."""
    config = config_of(CARTPOLE | {"totalSteps": 16 * 64 * 60})
    moments = random.Random(20)
    expected = digest_in_peace(config, tmp_path / "undisturbed")
    kills = 0
    while kills < 20:
        with job_processes(config, tmp_path / f"after-{kills}-kills") as job:
            job.start_simulators("only")
            learner = job.start_learner()
            while kills < 20 and killed(job, learner, moments.uniform(0.0, 2.5), starting=kills % 4 == 0):
                kills += 1
                learner = job.start_learner()
            assert (job.finish() if learner.poll() is None else job.digest()) == expected


def killed(job: JobProcesses, learner: subprocess.Popen[bytes], seconds: float, *, starting: bool) -> bool:
    """Kills the learner, so long after it began to start or to run. False where it has come to its job's end before."""
    job.wait_until(lambda: starting or runs(job) or learner.poll() is not None, "a running learner")
    try:
        assert learner.wait(seconds) == contract.EXIT_DONE, job.log()
    except subprocess.TimeoutExpired:
        job.kill(learner)
    return "finished" not in job.log()  # its simulator is told so, and leaves


def test_without_its_replay_a_resumed_learner_fills_one_before_it_learns(tmp_path: Path) -> None:
    config = config_of(RAINBOW | {"checkpoint": {"intervalSeconds": 1}, "totalSteps": 8 * 2000})
    job = disturbed(config, tmp_path, lambda job: drain(job, config.total_steps // 2), "only")
    assert "replay_refills" in job.log()
    [made] = [int(found) for found in re.findall(r"resumed .*updates=(\d+)", job.log())]
    [goes_on_at] = {int(found) for found in re.findall(r"learning_goes_on_at\W+(\d+)", job.log())}
    learned = (job.final_status()["updates"] - made) * 32 / (config.total_steps - goes_on_at)
    assert learned == pytest.approx(2.5, rel=0.02), "it learned while the replay filled"
    assert job.final_status()["message"] == ""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("given", [RAINBOW, PONG | {"totalSteps": 8 * 32 * 20}], ids=["CartPole-Rainbow", "Pong"])
def test_a_learner_killed_after_checkpoints_goes_on_exactly(given: dict[str, Any], tmp_path: Path) -> None:
    config, moments = config_of(given), random.Random(21)
    expected = digest_in_peace(config, tmp_path / "undisturbed")

    def kill_twice(job: JobProcesses) -> None:
        for _ in range(2):
            assert job.learner is not None
            before = job.newest_checkpoint()
            job.wait_until(lambda before=before: job.newest_checkpoint() > before, "a checkpoint of this life")
            if not killed(job, job.learner, moments.uniform(0.0, 0.5), starting=False):
                raise TooLateError
            job.start_learner()

    job = disturbed(config, tmp_path, kill_twice, "only")
    assert job.digest() == expected
    assert [path.read_text().count(" resumed ") for path in sorted(job.directory.glob("learner-*.log"))] == [0, 1, 1]


def test_a_replay_that_no_machine_can_hold_is_refused_with_the_figure(tmp_path: Path) -> None:
    environment = PONG["environment"] | {"atari": {"height": 256, "width": 256, "grayscale": False}}
    parameters = {"replayCapacitySteps": 10**9}
    config = config_of(PONG | {"environment": environment, "algorithm": {"name": "DQN", "parameters": parameters}})
    with job_processes(config, tmp_path) as job:
        learner = job.start_learner()
        job.start_simulators("only")
        assert learner.wait(120) == contract.EXIT_INVALID
        last = job.log().splitlines()[-1]
    assert last.startswith("spec.algorithm.parameters.replayCapacitySteps: 1,000,000,000 steps of 196,608 bytes take")
    assert "of memory is available; " in last
    assert last.endswith(" steps would fit")


def test_environments_that_cannot_be_replayed_are_cut_where_their_simulator_was_lost(tmp_path: Path) -> None:
    config = config_of(CARTPOLE | {"environment": {"id": "CartPole-v1", "deterministic": False}, "totalSteps": 40_960})

    def lose_each(job: JobProcesses) -> None:
        for name in ("a", "b", "a"):
            job.reach(job.status().get("steps", 0) + 2_000)
            job.restart_simulator(name)

    assert disturbed(config, tmp_path, lose_each, "a", "b").final_status()["steps"] == config.total_steps


def runs(job: JobProcesses) -> bool:
    return job.status().get("phase") == "Running"
