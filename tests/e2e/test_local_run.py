"""`stepstream run` with real learners and simulators: its end, its interruptions, its accidents."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from stepstream_operator.cli import main
from stepstream_operator.local.sockets import PREFIX, ROOT
from stepstream_operator.local.status_client import fetch_status
from stepstream_operator.local.wakeup import SAME_REQUEST_SECONDS
from tests.support.daemons import free_ports, lasts
from tests.support.local_run import LONG, LocalRun, local_run, write_job
from tests.support.run_files import history_of


def no_process_is_left(run: LocalRun) -> bool:
    return not run.pids("learner") and not run.pids("simulator")


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    """A run that has reached its goal. Tests that change it take a copy."""
    directory = tmp_path_factory.mktemp("complete")
    write_job(directory / "cart.yaml")
    with local_run(directory, "cart.yaml") as run:
        assert run.wait() == 0, run.output()
    return run


@pytest.fixture
def copy_of_complete(complete: LocalRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete.directory, tmp_path, dirs_exist_ok=True))


def test_a_job_runs_to_its_end_and_leaves_everything_in_its_directory(complete: LocalRun) -> None:
    run = complete
    assert "runs/cart: complete after" in run.output()
    assert "stepstream evaluate runs/cart" in run.output()
    assert run.status()["phase"] == "Succeeded"
    assert run.history()[-1]["steps"] == 8 * 32 * 4
    names = {entry.name for entry in run.run_directory.iterdir()}
    assert {"job.yaml", "config", "checkpoints", "metrics.jsonl", "tensorboard", "logs", "state.json"} <= names
    assert no_process_is_left(run)
    assert not run.sockets().exists()


def test_a_complete_run_is_not_run_again_until_its_goal_is_raised(copy_of_complete: Path) -> None:
    for arguments, said in (
        ([], "runs/cart: is complete. Raise spec.totalSteps (it was 1024) to train on, or begin anew with --fresh."),
        (["--set", "spec.totalSteps=1536"], "1,536 steps"),
    ):
        with local_run(copy_of_complete, "cart.yaml", *arguments) as run:
            assert run.wait() == 0, run.output()
        assert said in run.output()
    assert run.status()["attempt"] == 2


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    with local_run(tmp_path, "cart.yaml", "--set", "spec.simulators.replicas=1") as run:
        run.wait_for_steps()
        run.interrupt()
        assert run.wait() == 130, run.output()
    *_, sentence, command = run.output().splitlines()
    assert sentence.startswith("runs/cart: stopped; its checkpoint is at ")
    assert command == "  stepstream run cart.yaml --set spec.simulators.replicas=1"
    assert no_process_is_left(run)
    assert_goes_on(tmp_path)


def test_a_second_ctrl_c_does_not_wait_for_a_checkpoint(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_until(lambda: " leased " in run.log("learner-0"), "a learner that heeds SIGTERM, which kills before")
        [learner] = run.pids("learner")
        os.kill(learner, signal.SIGSTOP)  # it cannot answer SIGTERM
        run.interrupt()
        run.wait_until(lambda: "stopping" in run.output(), "the first Ctrl-C")
        lasts(SAME_REQUEST_SECONDS)
        run.interrupt()
        assert run.wait() == 130, run.output()
    assert "runs/cart: stopped before its first checkpoint. Begin with:" in run.output()
    assert no_process_is_left(run)


def test_a_killed_runner_leaves_no_process_and_its_run_goes_on(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", checkpoint={"intervalSeconds": 1}, **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_until(lambda: "checkpoint_written" in run.log("learner-0"), "a checkpoint")
        left = run.sockets()
        run.process.kill()
        run.process.wait()
        run.wait_until(lambda: no_process_is_left(run), "the end of its processes", while_running=False)
    assert left.name.startswith(PREFIX)
    assert left.parent == ROOT
    assert_goes_on(tmp_path)
    assert not left.exists()


def assert_goes_on(directory: Path) -> None:
    """Started again, the run makes steps beyond the checkpoint it had, in its second attempt."""
    manifests = sorted((directory / "runs" / "cart" / "checkpoints").glob("*.json"))
    before = json.loads(manifests[-1].read_text())["step"]
    with local_run(directory, "cart.yaml", "--resume") as run:
        run.wait_for_steps(attempt=2, more_than=before)
    steps = [line["steps"] for line in run.history()]
    assert steps == sorted(steps)
    assert {line["attempt"] for line in run.history() if line["steps"] > before} == {2}


def test_a_killed_simulator_is_replaced_and_the_learner_lives_on(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_for_steps()
        victim, learner = run.pids("simulator")[0], run.pids("learner")
        os.kill(victim, signal.SIGKILL)
        run.wait_until(lambda: victim not in run.pids("simulator") and len(run.pids("simulator")) == 2, "a new one")
        assert run.pids("learner") == learner
        assert "ended with exit code 137 (SIGKILL); starts again in 0.1 s" in run.output()
        assert run.status()["attempt"] == 1


def test_a_killed_learner_is_started_again_as_the_next_attempt(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_for_steps()
        os.kill(run.pids("learner")[0], signal.SIGKILL)
        run.wait_until(lambda: run.status()["attempt"] == 2, "the next attempt")
        assert run.status()["restarts"] == 1
        run.wait_for_steps(attempt=2)
        assert "learner failed with exit code 137 (SIGKILL); attempt 2 follows" in run.output()


def test_a_learner_that_is_asked_to_go_is_started_again_without_counting_a_failure(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_for_steps()
        [learner] = run.pids("learner")
        os.kill(learner, signal.SIGTERM)
        run.wait_until(lambda: run.pids("learner") not in ([], [learner]), "its successor")
        assert "cart-learner-0 asked to be started again, and is" in run.output()
        assert (run.status()["attempt"], run.status()["restarts"]) == (1, 0)


def test_the_job_fails_when_its_backoff_limit_is_used_up(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", backoffLimit=0, **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_until(lambda: bool(run.pids("learner")), "a learner")
        os.kill(run.pids("learner")[0], signal.SIGKILL)
        assert run.wait() == 1, run.output()
    expected = "runs/cart: failed: learner failed with exit code 137 (SIGKILL), after 0 restarts (spec.backoffLimit)"
    assert expected in run.output()
    assert run.status()["phase"] == "Failed"


def test_a_job_that_diverges_ends_with_a_sentence_and_saves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    huge = {"id": "Counter-v0", "entryPoint": "tests.support.environments:Counter", "kwargs": {"bonus": 1e30}}
    write_job(tmp_path / "cart.yaml", environment=huge, backoffLimit=0, **LONG)
    with local_run(tmp_path, "cart.yaml") as run:
        assert run.wait() == 1, run.output()
    assert re.search(r"training has diverged: \w+ is (nan|inf); a smaller spec.algorithm.parameters", run.output())
    assert checkpoints(run) == set()


def test_a_full_disk_costs_checkpoints_and_not_the_run_which_ends_when_its_last_one_is_written(tmp_path: Path) -> None:
    steps = 8 * 32 * 300
    write_job(tmp_path / "cart.yaml", checkpoint={"intervalSeconds": 1}, totalSteps=steps)
    [http] = free_ports(1)
    with local_run(tmp_path, "cart.yaml", "--http-port", str(http)) as run:
        run.wait_until(lambda: bool(checkpoints(run)), "a checkpoint")
        limit_files(run, 64 * 1024)
        run.wait_until(lambda: "checkpoint_failed" in run.log("learner-0"), "one that the disk refused")
        kept = checkpoints(run)
        run.wait_until(lambda: "it is the last, and is tried again" in run.output(), "word of the last checkpoint")
        run.wait_until(lambda: failed_checkpoints(http) > 1, "a second one is counted")
        assert run.log("learner-0").count("checkpoint_failed") > 1
        assert checkpoints(run) == kept
        limit_files(run, resource.RLIM_INFINITY)
        assert run.wait() == 0, run.output()
        assert run.newest_checkpoint() == steps


def checkpoints(run: LocalRun) -> set[str]:
    return {path.name for path in (run.run_directory / "checkpoints").glob("*.json")}


def limit_files(run: LocalRun, size: int) -> None:
    """No file that the learner writes may grow larger, as if the disk were full."""
    for pid in run.pids("learner"):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def failed_checkpoints(http: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics") as answer:
        exposed = answer.read().decode()
    found = re.search(r"^stepstream_learner_checkpoint_failures_total\S* (\S+)$", exposed, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("option", ["--tcp", "--http-port"])
def test_a_port_in_use_ends_the_run_with_a_sentence(option: str, tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with local_run(tmp_path, "cart.yaml", option, str(port)) as run:
            assert run.wait() == 2, run.output()
    assert run.output().startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert not run.run_directory.exists()


def test_a_run_over_tcp_answers_on_its_http_port(tmp_path: Path) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    stream, http = free_ports(2)
    with local_run(tmp_path, "cart.yaml", "--tcp", str(stream), "--http-port", str(http)) as run:
        run.wait_until(lambda: answers(http), "/status")
        run.wait_for_steps()
        run.interrupt()
        assert run.wait() == 130, run.output()


def answers(port: int) -> bool:
    return fetch_status(f"127.0.0.1:{port}") is not None


def test_a_damaged_checkpoint_ends_the_run_with_a_sentence(copy_of_complete: Path) -> None:
    for path in (copy_of_complete / "runs" / "cart" / "checkpoints").glob("*.pt"):
        path.write_bytes(b"garbage")
    with local_run(copy_of_complete, "cart.yaml", "--set", "spec.totalSteps=9999") as run:
        assert run.wait() == 2, run.output()
    assert run.output().startswith(f"{run.run_directory}/checkpoints: none of 1 checkpoints can be read")
    assert run.status()["phase"] == "Succeeded", "nothing was started, so nothing changed"
    assert "start afresh with --fresh" in run.output()


def test_a_fresh_start_moves_the_old_run_aside(copy_of_complete: Path) -> None:
    with local_run(copy_of_complete, "cart.yaml", "--fresh", "--set", "spec.totalSteps=10_000_000") as run:
        run.wait_until(lambda: bool(run.pids("learner")), "a learner")
        assert "runs/cart: the run that was here is now cart.1, beside it" in run.output()
        assert run.status()["attempt"] == 1
    assert (copy_of_complete / "runs" / "cart.1" / "job.yaml").exists()
    before = history_of(copy_of_complete / "runs" / "cart.1")
    assert before
    assert not [line for line in run.history() if line in before]


def test_evaluations_during_a_run_change_nothing_of_it(complete: LocalRun, tmp_path: Path) -> None:
    evaluation = {"intervalSteps": 512, "episodes": 3, "recordVideo": True}
    write_job(tmp_path / "cart.yaml", evaluation=evaluation)
    with local_run(tmp_path, "cart.yaml") as run:
        assert run.wait() == 0, run.output()
    results = sorted((run.run_directory / "evaluations").glob("*.json"))
    assert results, run.log("learner-0")
    found = json.loads(results[-1].read_text())
    assert found["checkpointStep"] == int(results[-1].stem)
    assert found["checkpointStep"] % 512 == 0
    assert len(found["returns"]) == 3
    assert {path.suffix for path in results[-1].parent.iterdir()} == {".json", ".gif"}
    assert run.log("learner-0").count(" evaluated ") == len(results)
    assert final_digest(run) == final_digest(complete)


def final_digest(run: LocalRun) -> str:
    """Of the parameters, as the learner's last line says."""
    return next(line for line in run.log("learner-0").splitlines() if " finished " in line).rpartition("=")[2]


def test_two_runners_never_share_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_job(tmp_path / "cart.yaml", **LONG)
    monkeypatch.chdir(tmp_path)
    with local_run(tmp_path, "cart.yaml") as run:
        run.wait_until(lambda: bool(run.pids("learner")), "a learner")
        assert main(["run", "cart.yaml"]) == 2
        said = f"runs/cart: in use by another stepstream run (process {run.process.pid}); stop it"
        assert said in capsys.readouterr().err
        assert run.process.poll() is None
