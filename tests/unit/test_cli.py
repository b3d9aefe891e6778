"""The command line: what it refuses, with which sentence and exit code, before anything starts."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from stepstream_operator.cli import main, parser, resume_command
from tests.support.local_run import write_job

SUPPORTED = "supported are Box and Discrete observations with Discrete actions"
INSTALLED = "it must be module:Class of a module in the simulators' image"

WRONG = {
    "unknown field": ("spec.evalution.episodes=2", "spec.evalution: unknown field; did you mean evaluation?"),
    "unknown algorithm": (
        "spec.algorithm.name=PPPO",
        "spec.algorithm.name: must be one of A2C, PPO, DQN, CategoricalDQN, EpsilonRainbow, A3C, APPO, "
        'got "PPPO"; did you mean PPO?',
    ),
    "unknown parameter": (
        "spec.algorithm.parameters.learningrate=1",
        "spec.algorithm.parameters.learningrate: unknown field; did you mean learningRate?",
    ),
    "wrong type": ("spec.totalSteps=many", 'spec.totalSteps: must be an integer, got "many"'),
    "out of range": ("spec.simulators.replicas=0", "spec.simulators.replicas: must be at least 1, got 0"),
}

IMPOSSIBLE = {
    "unknown game": (
        "spec.environment.id=ALE/Pongg-v5",
        "spec.environment.id: there is no environment ALE/Pongg-v5; did you mean ALE/Pong-v5?",
    ),
    "unknown environment": (
        "spec.environment.id=CartPol-v1",
        "spec.environment.id: there is no environment CartPol-v1: Environment `CartPol` doesn't exist. "
        "Did you mean: `CartPole`?",
    ),
    "Tuple observations": (
        "spec.environment.id=Blackjack-v1",
        f"spec.environment.id: Blackjack-v1 has Tuple observations; {SUPPORTED}",
    ),
    "Dict observations": (
        "spec.environment.entryPoint=tests.support.environments:DictObservations",
        f"spec.environment.id: CartPole-v1 has Dict observations; {SUPPORTED}",
    ),
    "continuous actions": (
        "spec.environment.id=Pendulum-v1",
        f"spec.environment.id: Pendulum-v1 has continuous (Box) actions; {SUPPORTED}",
    ),
    "missing module": (
        "spec.environment.entryPoint=nowhere.envs:Maze",
        "spec.environment.entryPoint: nowhere.envs:Maze cannot be loaded: No module named 'nowhere'; " + INSTALLED,
    ),
    "missing class": (
        "spec.environment.entryPoint=json:Maze",
        "spec.environment.entryPoint: json:Maze cannot be loaded: module 'json' has no attribute 'Maze'; " + INSTALLED,
    ),
}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`cart.yaml` in the working directory, which holds nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=":")
    write_job(tmp_path / "cart.yaml")
    return "cart.yaml"


@pytest.mark.parametrize("command", ["run", "validate", "render"])
@pytest.mark.parametrize(("override", "sentence"), WRONG.values(), ids=WRONG)
def test_a_job_that_cannot_be_is_refused_with_one_sentence(
    command: str, override: str, sentence: str, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, job, "--set", override]) == 2
    assert capsys.readouterr().err == f"--set {override}: {sentence}\n"
    assert not Path("runs").exists()


@pytest.mark.parametrize(("override", "sentence"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_environment_that_cannot_be_made_is_refused_before_anything_starts(
    override: str, sentence: str, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", job, "--set", override]) == 2
    assert capsys.readouterr().err == f"{sentence}\n"
    assert not Path("runs").exists()


def test_everything_that_is_wrong_is_said_at_once(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", job, "--set", "spec.seed=-1", "--set", "spec.totalSteps=0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_file_that_is_not_there_is_named(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "nowhere.yaml: cannot be read: No such file or directory\n"


def test_a_suspended_job_is_not_run(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", job, "--set", "spec.suspend=true"]) == 2
    assert capsys.readouterr().err == "spec.suspend: is true, so nothing would run; set it to false\n"


def test_a_valid_job_is_said_to_be_valid(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", job, "--environment"]) == 0
    assert capsys.readouterr().out == "cart.yaml: TrainingJob cart is valid\n"


def test_render_prints_the_children_as_yaml(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", job]) == 0
    text = capsys.readouterr().out
    assert {"ConfigMap", "Service", "Job", "Deployment"} <= {child["kind"] for child in yaml.safe_load_all(text)}
    assert "job.json: |" in text


@pytest.mark.parametrize(
    "words",
    [
        ["run", "my job.yaml"],
        ["run", "a.yaml", "--set", "spec.seed=1", "--set", "spec.totalSteps=5", "--run-dir", "d"],
        ["run", "a.yaml", "--tcp", "7070", "--http-port", "9090"],
    ],
)
def test_the_command_to_go_on_is_the_command_that_was_given(words: list[str]) -> None:
    options = parser().parse_args(words)
    assert resume_command(options) == "stepstream " + " ".join(f"'{word}'" if " " in word else word for word in words)


def test_what_to_type_is_a_path_where_the_shell_does_not_find_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(tmp_path / ".venv" / "bin" / "stepstream")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resume_command(parser().parse_args(["run", "a.yaml"])) == ".venv/bin/stepstream run a.yaml"
    (tmp_path / "stepstream").touch(0o755)
    assert resume_command(parser().parse_args(["run", "a.yaml"])) == "stepstream run a.yaml"


@pytest.mark.parametrize("start", ["--fresh", "--resume"])
def test_the_command_to_go_on_neither_begins_anew_nor_insists(start: str) -> None:
    assert resume_command(parser().parse_args(["run", "a.yaml", start])) == "stepstream run a.yaml"


def test_resume_and_fresh_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["run", "a.yaml", "--fresh", "--resume"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_cannot_be_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["run", "a.yaml", f"--http-port={port}"])
    assert f"must be a port from 1 to 65535, got '{port}'" in capsys.readouterr().err


def test_every_command_is_listed_with_what_it_does() -> None:
    text = parser().format_help()
    assert all(
        f"\n    {name} " in text for name in ("run", "validate", "render", "evaluate", "video", "plot", "version")
    )


def test_the_control_plane_is_imported_without_the_trainers_libraries() -> None:
    heavy = ["torch", "gymnasium", "ale_py", "grpc", "matplotlib", "numpy"]
    code = f"import sys, stepstream_operator.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"stepstream {version('stepstream')}\n"
