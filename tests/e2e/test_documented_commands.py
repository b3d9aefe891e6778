"""Every command of the pages is run by somebody: here the local ones, as they stand there.

kubectl's and helm's are typed by tests/cluster/test_documented_cluster_commands.py.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.daemons import eventually
from tests.support.documented import ROOT, commands, made
from tests.support.one_node.__main__ import PACKAGES
from tests.support.run_files import history_of

CI = {
    "make lint types verify test",
    "make lint",
    "make verify",
    "make test",
    "make images",
    "make cluster-up",
    "make cluster-up ARGS=--install",
    "make test-e2e",
    "make cluster-down",
}
"""By .ci/run."""
NO_DOCKER = "there is no docker where these tests run"
VERIFIED = "`make verify` writes the same and compares"
A_PICTURE = "tests/charts/test_dashboard_picture.py draws one"
ELSEWHERE = {
    "make setup": "every target begins with it",
    "make protos docs": VERIFIED,
    "make docs": VERIFIED,
    'make test ARGS="--thorough -k crash"': "an hour; `make test` tries a part of it",
    "make sbom": "minutes, most of them once to build syft; tests/unit/test_images.py makes a table of an SBOM",
    "python -m benchmarks.bench_end_to_end --rounds 1": "a part of `make bench`",
    "make bench": "an hour, beside peers from the network: its records are in benchmarks/results",
    'make images ARGS="--base IMAGE --tag TAG simulator"': "`make images` with other names",
    "make kind-up": NO_DOCKER,
    "KUBECONFIG=build/kind.conf make test-e2e": NO_DOCKER,
    "make kind-down": NO_DOCKER,
    "make cluster-down ARGS=--purge": "whoever runs the tests wants to keep the images",
    "python -m tests.support.tools build --node": "the cluster's start builds what is missing",
    "python -m tests.support.one_node load IMAGE...": "tests/support/real_cluster.py does",
    "python -m tests.support.dashboard_picture --minutes 4": A_PICTURE,
    "python -m tests.support.dashboard_picture docs/dashboard-job.png": A_PICTURE,
}
ON_A_CLUSTER = {"kubectl", "helm", "export"}
RUN_PONG = "stepstream run examples/pong-ppo.yaml --set spec.simulators.replicas=2 --run-dir runs/pong-two"
TWO_RUNS = tuple(
    f"OMP_NUM_THREADS=1 stepstream run examples/pong-a2c.yaml --run-dir runs/{name} --set spec.seed={seed}"
    for name, seed in (("one", 1), ("two", 2))
)
TOUR = (
    "stepstream run examples/01-cartpole-ppo.yaml",
    "stepstream plot runs/cartpole",
    "stepstream evaluate runs/cartpole",
    "stepstream video runs/cartpole",
    "stepstream trace RUN",
    "stepstream validate examples/pong-ppo.yaml",
    "stepstream render examples/pong-ppo.yaml",
    "stepstream validate job.yaml",
)
SHORT = "--set spec.totalSteps=512"


class Tour:
    """A clone of the repository as far as its user sees it, and a shell there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "examples").symlink_to(ROOT / "examples")
        (directory / ".venv").symlink_to(sys.prefix)
        (directory / "job.yaml").symlink_to(ROOT / "examples" / "02-cartpole-dqn.yaml")

    def command(self, words: str) -> list[str]:
        return ["bash", "-c", f"source .venv/bin/activate && exec env {words.replace('RUN', 'runs/cartpole')}"]

    def __call__(self, words: str) -> str:
        done = subprocess.run(self.command(words), cwd=self.directory, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def history(self, run: str) -> list[dict[str, Any]]:
        return history_of(self.directory / "runs" / run)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    return Tour(tmp_path_factory.mktemp("tour"))


@pytest.mark.timeout(1200)
def test_the_tour_of_the_readme_solves_cartpole_and_shows_it(tour: Tour) -> None:
    said = {words: tour(words) for words in TOUR}
    last = tour.history("cartpole")[-1]
    assert last["steps"] < 100_000, "it stops when its goal is reached"
    assert last["episodeReturn"] >= 475
    mean = re.search(r"return +([\d.]+)", said["stepstream evaluate runs/cartpole"])
    assert mean is not None
    assert float(mean[1]) > 400
    pictures = [path for path in (tour.directory / "runs").rglob("*") if path.suffix in (".png", ".gif")]
    assert {format_of(picture) for picture in pictures} == {"PNG", "GIF"}
    assert "kind: Job" in said["stepstream render examples/pong-ppo.yaml"]


def format_of(picture: Path) -> str | None:
    with Image.open(picture) as opened:
        return opened.format


@contextmanager
def training(tour: Tour, words: str, run: str) -> Iterator[None]:
    """Makes steps, and is stopped by Ctrl-C."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(tour.command(words), cwd=tour.directory, stdout=quiet, stderr=quiet)
    try:
        eventually(lambda: tour.history(run), timeout_seconds=240, what="it makes steps")
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 128 + signal.SIGINT
    finally:
        process.kill()


def test_two_runs_share_a_machine_and_a_third_hears_of_it(tour: Tour) -> None:
    """It is the one that is given no thread of its own."""
    with training(tour, TWO_RUNS[0], "one"), training(tour, TWO_RUNS[1], "two"):
        said = tour(f"-u OMP_NUM_THREADS stepstream run examples/01-cartpole-ppo.yaml --run-dir runs/three {SHORT}")
    told = re.search(r"Runs at work on this machine beside this one: (\d+)", said)
    assert told is not None
    assert int(told[1]) >= 2


def test_a_run_of_ones_own_is_stopped_by_ctrl_c(tour: Tour) -> None:
    with training(tour, RUN_PONG, "pong-two"):
        pass
    assert len(list((tour.directory / "runs/pong-two/logs").glob("*simulator*"))) == 2


def test_a_job_of_ones_own_runs(tour: Tour) -> None:
    """Shortened."""
    tour(f"stepstream run job.yaml {SHORT} --set spec.algorithm.parameters.learningStartsSteps=256")
    assert tour.history("cartpole-dqn")[-1]["steps"] == 512


@pytest.mark.parametrize("words", ["make help", f'make run ARGS="--run-dir HERE/runs/made {SHORT}"'])
def test_make_does_it_too(words: str, tour: Tour) -> None:
    """Shortened: Pong takes half an hour."""
    tour(made(words).replace("HERE", str(tour.directory)))


def test_no_command_of_the_pages_is_left_out() -> None:
    here = {*TOUR, *TWO_RUNS, RUN_PONG, "source .venv/bin/activate", "make run", "make help", "stepstream run job.yaml"}
    installed = {f"apt-get install --no-install-recommends {PACKAGES}"}  # by --install
    told = {each.command for each in commands() if each.program not in ON_A_CLUSTER}
    assert told == here | CI | installed | ELSEWHERE.keys()


def test_what_is_said_to_be_run_by_continuous_integration_is() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    made = {word for words in re.findall(r"\bmake ([a-z0-9 -]+)", script) for word in words.split()}
    assert {word for command in CI for word in command.split()[1:] if "=" not in word} <= made
