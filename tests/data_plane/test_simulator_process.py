"""The simulator's process: how it ends, what it refuses, and what it costs."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepstream_trainer.config import contract, dump
from tests.support.data_plane import CARTPOLE, PATIENCE_SECONDS, PONG, config_of, data_plane, wait_until

HERE = "tests.support.environments"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such game": (
        {"id": "ALE/Pongg-v5"},
        "spec.environment.id: there is no environment ALE/Pongg-v5; did you mean ALE/Pong-v5?",
    ),
    "no such environment": (
        {"id": "CartPol-v1"},
        "spec.environment.id: there is no environment CartPol-v1: Environment `CartPol` doesn't exist. "
        "Did you mean: `CartPole`?",
    ),
    "dictionary observations": (
        {"id": "Mine", "entryPoint": f"{HERE}:DictObservations"},
        "spec.environment.id: Mine has Dict observations; supported are Box and Discrete observations with Discrete "
        "actions",
    ),
    "continuous actions": (
        {"id": "Pendulum-v1"},
        "spec.environment.id: Pendulum-v1 has continuous (Box) actions; supported are Box and Discrete observations "
        "with Discrete actions",
    ),
    "no such class": (
        {"id": "Mine", "entryPoint": f"{HERE}:Missing"},
        f"spec.environment.entryPoint: {HERE}:Missing cannot be loaded: module '{HERE}' has no "
        "attribute 'Missing'; it must be module:Class of a module in the simulators' image",
    ),
    "a constructor that fails": (
        {"id": "Mine", "entryPoint": f"{HERE}:Counter", "kwargs": {"size": 3}},
        "spec.environment: Mine could not be made: TypeError: Counter.__init__() got an unexpected keyword argument "
        "'size'",
    ),
    "observations of too many axes": (
        {"id": "Mine", "entryPoint": f"{HERE}:Wide"},
        "spec.environment.id: Mine has observations of float32 [1, 2, 3, 4, 5]; they must be numbers, of rank 0 to 4, "
        "1 to 67108864 bytes",
    ),
    "arguments of preprocessing": (
        {"id": "ALE/Pong-v5", "kwargs": {"frameskip": 2}},
        "spec.environment.kwargs.frameskip: ALE/* environments take full_action_space here; preprocessing is "
        "configured in spec.environment.atari",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_environment_that_cannot_be_served_ends_the_process_with_one_sentence(case: str, tmp_path: Path) -> None:
    environment, sentence = REFUSED[case]
    ended = check(tmp_path, environment)
    assert ended.returncode == contract.EXIT_INVALID
    assert ended.stderr.splitlines()[-1] == sentence


def test_a_module_that_fails_when_it_is_loaded_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "unlicensed.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "job.json").write_text(dump(config_of({"id": "Mine", "entryPoint": "unlicensed:Game"})))
    ended = run_simulator({contract.CONFIG: str(tmp_path / "job.json"), "PYTHONPATH": str(tmp_path)}, "--check")
    assert ended.returncode == contract.EXIT_INVALID
    assert ended.stderr.splitlines()[-1].startswith(
        "spec.environment.entryPoint: unlicensed:Game cannot be loaded: RuntimeError: no licence; "
    )


@pytest.mark.parametrize("missing", [contract.CONFIG, contract.LEARNER, contract.SIMULATOR])
def test_a_missing_environment_variable_is_named(missing: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(dump(config_of(CARTPOLE)))
    variables = {
        contract.CONFIG: str(tmp_path / "job.json"),
        contract.LEARNER: f"unix:{tmp_path}/learner",
        contract.SIMULATOR: "a",
    }
    del variables[missing]
    ended = run_simulator(variables)
    assert ended.returncode == contract.EXIT_INVALID
    assert ended.stderr.splitlines()[-1] == f"the environment variable {missing} is not set"


def test_a_simulator_leaves_with_0_when_the_job_is_over() -> None:
    with data_plane(config_of(CARTPOLE, simulators=2), "a", "b") as plane:
        plane.learner.play(5)
        wait_until(lambda: plane.learner.server.service().simulators == 2, "both are there to be told")
        plane.learner.act(0)
        plane.learner.stop(job_over=True)
        for process in plane.simulators.processes.values():
            assert process.wait(PATIENCE_SECONDS) == contract.EXIT_DONE


def test_a_simulator_told_to_terminate_leaves_at_once() -> None:
    with data_plane(config_of(CARTPOLE), "a") as plane:
        plane.learner.play(3)
        process = plane.simulators.processes["a"]
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM


def test_a_simulator_of_another_job_is_told_so_and_leaves() -> None:
    other = config_of(CARTPOLE | {"kwargs": {"sutton_barto_reward": True}})
    with data_plane(config_of(CARTPOLE)) as plane, data_plane(other, address=plane.learner.address + "-2") as mistaken:
        mistaken.simulators.start("lost", **{contract.LEARNER: plane.learner.address})
        assert mistaken.simulators.processes["lost"].wait(PATIENCE_SECONDS) == contract.EXIT_INVALID
        assert "configured otherwise than the learner's" in mistaken.simulators.log_path("lost").read_text()
        assert plane.learner.counts.refused == ["FAILED_PRECONDITION"]


def test_a_simulator_does_not_grow_while_it_plays() -> None:
    with data_plane(config_of(PONG, environments=16), "a") as plane:
        plane.learner.play(20)
        before = resident_bytes(plane.simulators.processes["a"].pid)
        plane.learner.play(100)
        assert resident_bytes(plane.simulators.processes["a"].pid) - before < 16 << 20


def test_a_simulator_never_imports_torch() -> None:
    program = (
        "import sys, numpy as np;"
        "import stepstream_trainer.simulator.__main__;"
        "from stepstream_trainer.config import EnvironmentConfig as E;"
        "from stepstream_trainer.simulator.environments import make_batch;"
        "make_batch(E(id='ALE/Pong-v5'), 1); make_batch(E(id='CartPole-v1'), 1);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "error"), [("Failing", "RuntimeError: out of order"), ("Confused", "KeyError: 'goal'")]
)
def test_an_environment_whose_step_fails_ends_the_process_with_its_traceback(name: str, error: str) -> None:
    config = config_of({"id": "Mine", "entryPoint": f"{HERE}:{name}"})
    with data_plane(config, "a") as plane:
        plane.learner.first_rows()
        plane.learner.act(0)
        assert plane.simulators.processes["a"].wait(PATIENCE_SECONDS) == 1
        log = plane.simulators.log_path("a").read_text()
        assert error in log
        assert "Traceback" in log


def check(directory: Path, environment: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """`--check` on this environment."""
    (directory / "job.json").write_text(dump(config_of(environment)))
    return run_simulator({contract.CONFIG: str(directory / "job.json")}, "--check")


def run_simulator(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *contract.SIMULATOR_COMMAND[1:], *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
