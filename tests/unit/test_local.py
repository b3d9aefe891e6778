"""The local runner's parts: what may be opened, run directories, processes, sockets, back-off."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream_operator.api import load_job
from stepstream_operator.api.status_types import ConditionType, Failure, JobStatus
from stepstream_operator.api.status_types import Progress as JobProgress
from stepstream_operator.local import sockets
from stepstream_operator.local.backoff import LONGEST_SECONDS, SOUND_LIFE_SECONDS, Backoff
from stepstream_operator.local.opening import Start, check_open, immutable_changes
from stepstream_operator.local.processes import ProcessSpec, start
from stepstream_operator.local.run_directory import RunDirectory, RunDirectoryError
from stepstream_operator.local.runner import how_to_train_on
from stepstream_operator.local.sockets import other_runs_at_work, remove_left_sockets, socket_directory
from stepstream_operator.local.wakeup import Wakeup
from tests.support.full_disk import files_limited_to
from tests.support.local_parts import make_job, make_run, status_with
from tests.support.local_run import write_job


class TestOpening:
    def test_a_free_path_is_for_a_fresh_run(self, tmp_path: Path) -> None:
        assert not check_open(RunDirectory(tmp_path / "run", "run"), make_job(tmp_path), Start.AUTO)

    def test_the_same_job_goes_on(self, tmp_path: Path) -> None:
        job = make_job(tmp_path)
        assert check_open(make_run(tmp_path, job), job, Start.AUTO)

    def test_what_may_change_while_a_job_lives_is_no_other_job(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, make_job(tmp_path))
        changed = make_job(tmp_path, "spec.totalSteps=99999", "spec.simulators.replicas=4", "spec.backoffLimit=9")
        assert check_open(run, changed, Start.AUTO)

    def test_another_job_is_refused_with_every_difference(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, make_job(tmp_path))
        other = make_job(tmp_path, "spec.seed=5", "spec.algorithm.parameters.horizon=64", "metadata.name=other")
        with pytest.raises(RunDirectoryError) as refused:
            check_open(run, other, Start.AUTO)
        assert str(refused.value) == (
            'run: holds another job: metadata.name was "cart", is "other"; '
            "spec.algorithm.parameters.horizon was 32, is 64; spec.seed was 0, is 5. Give --run-dir another path, or "
            "--fresh to begin anew (the old run is moved aside, not deleted)"
        )

    def test_a_fresh_start_asks_for_no_likeness(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, make_job(tmp_path))
        assert not check_open(run, make_job(tmp_path, "spec.seed=5"), Start.FRESH)

    def test_resume_insists_on_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match="run: there is no run to resume; leave --resume out to begin one"):
            check_open(RunDirectory(tmp_path / "run", "run"), make_job(tmp_path), Start.RESUME)

    def test_a_directory_of_other_files_is_left_alone(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match="holds other files and no run; give --run-dir another path"):
            check_open(RunDirectory(tmp_path, "run"), make_job(tmp_path), Start.FRESH)

    def test_a_file_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("mine")
        with pytest.raises(RunDirectoryError, match="run: cannot hold a run: Not a directory; take a directory"):
            check_open(RunDirectory(tmp_path / "run", "run"), make_job(tmp_path), Start.AUTO)

    def test_another_algorithm_is_one_difference_and_not_one_for_each_parameter(self, tmp_path: Path) -> None:
        before = make_job(tmp_path)
        write_job(tmp_path / "a2c.yaml", algorithm={"name": "A2C"})
        changes = list(immutable_changes(before, load_job(tmp_path / "a2c.yaml")))
        assert changes[0] == 'spec.algorithm.name was "PPO", is "A2C"'
        assert len(changes) == 2


class TestRunDirectory:
    def test_a_saved_job_reads_back_equal(self, tmp_path: Path) -> None:
        job = make_job(tmp_path, 'spec.stopWhen.meanReturn="475"', "spec.environment.kwargs.max_episode_steps=10")
        assert make_run(tmp_path, job).job() == job

    def test_a_status_reads_back_equal(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        status = JobStatus(attempt=3, restarts=2, failure=Failure(reason="LearnerFailed", message="m", attempt=2))
        run.save_sockets("/tmp/x")
        run.save_status(status)
        assert (run.status(), run.sockets()) == (status, "/tmp/x")

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"status": {"attempt": "three"}}'])
    def test_a_damaged_state_is_refused_with_a_way_out(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(RunDirectoryError, match=r"run: state.json is damaged .*; delete it to go on"):
            RunDirectory(tmp_path, "run").status()

    def test_the_lock_keeps_a_second_runner_out_until_the_first_has_left(self, tmp_path: Path) -> None:
        first, second = RunDirectory(tmp_path / "run", "run"), RunDirectory(tmp_path / "run", "run")
        with first.lock(), pytest.raises(RunDirectoryError, match="in use by another stepstream run"), second.lock():
            pass
        with second.lock():
            pass

    def test_old_runs_are_moved_aside_under_the_first_free_number(self, tmp_path: Path) -> None:
        (tmp_path / "run.1").mkdir()
        assert make_run(tmp_path, make_job(tmp_path)).move_aside() == tmp_path / "run.2"
        assert (tmp_path / "run.2" / "job.yaml").exists()

    def test_a_path_that_cannot_be_written_to_is_said_to_be_so(self) -> None:
        with (
            pytest.raises(RunDirectoryError, match="/proc/run: cannot be written to"),
            RunDirectory(Path("/proc/run"), "/proc/run").lock(),
        ):
            pass

    def test_one_that_is_in_use_is_refused_before_anything_else_is_looked_at(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path / "run", "run")
        run.check_unused()
        assert not run.path.exists()
        with run.lock(), pytest.raises(RunDirectoryError, match="in use by another stepstream run"):
            RunDirectory(tmp_path / "run", "run").check_unused()
        run.check_unused()

    @pytest.mark.parametrize(
        ("steps", "goal"),
        [(1024, "Raise spec.totalSteps (it was 1024)"), (512, "Raise spec.stopWhen.meanReturn (it was 475)")],
    )
    def test_a_complete_run_is_trained_on_by_moving_the_goal_it_reached(
        self, steps: int, goal: str, tmp_path: Path
    ) -> None:
        run = make_run(tmp_path, make_job(tmp_path, "spec.stopWhen.meanReturn='475'"))
        run.save_status(status_with(ConditionType.Complete, progress=JobProgress(steps=steps)))
        assert how_to_train_on(run) == f"{goal} to train on"


class TestProcesses:
    def test_one_starts_though_its_log_can_take_no_more(self, tmp_path: Path) -> None:
        log = tmp_path / "p.log"
        log.write_text("full")
        spec = ProcessSpec(name="p", command=("python", "-c", "print(1)"), environment={}, log=log)
        with files_limited_to(4):
            process = start(spec, note="attempt 1")
        assert process.child.wait(60) in (0, 1, 120)
        assert log.read_text() == "full"

    def test_ignored_hangups_stay_ignored_and_others_ask_to_stop(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            for handler, requests in ((signal.SIG_IGN, 0), (signal.SIG_DFL, 1)):
                signal.signal(signal.SIGHUP, handler)
                with Wakeup() as wakeup:
                    signal.raise_signal(signal.SIGHUP)
                    assert wakeup.stop_requests == requests
                assert signal.getsignal(signal.SIGHUP) is handler
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_what_asks_twice_at_once_asks_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr("stepstream_operator.local.wakeup.time.monotonic", lambda: now)
        with Wakeup() as wakeup:
            for after, requests in ((0.0, 1), (0.5, 1), (0.9, 1), (1.0, 2), (1.5, 2)):
                now = 100.0 + after
                signal.raise_signal(signal.SIGTERM)
                assert wakeup.stop_requests == requests


class TestSockets:
    def test_the_directory_is_private_and_short_lived(self) -> None:
        with socket_directory() as path:
            assert Path(path).stat().st_mode & 0o777 == 0o700
            assert len(path) < 40
        assert not Path(path).exists()

    def test_other_runs_are_counted_as_long_as_somebody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with ExitStack() as closing:
            monkeypatch.setattr(sockets, "ROOT", Path(closing.enter_context(TemporaryDirectory(dir="/tmp"))))
            own, other = closing.enter_context(socket_directory()), closing.enter_context(socket_directory())
            with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as mine:
                listening.bind(f"{other}/learner-0.sock")
                listening.listen()
                mine.bind(f"{own}/learner-0.sock")
                mine.listen()
                assert other_runs_at_work(own) == 1
            assert other_runs_at_work(own) == 0, "what a killed run left is no run"

    def test_only_directories_of_ours_are_removed(self, tmp_path: Path) -> None:
        for path in ("", str(tmp_path), "/tmp", "/tmp/../etc"):
            remove_left_sockets(path)
        assert tmp_path.exists()
        with socket_directory() as path:
            remove_left_sockets(path)
            assert not Path(path).exists()


class TestBackoff:
    def test_the_first_restart_is_all_but_at_once(self) -> None:
        assert Backoff().after(0.0).delay_seconds(jitter=0.5) < 0.1

    @given(lives=st.lists(st.floats(0, 100), max_size=60), jitter=st.floats(0, 1, exclude_max=True))
    def test_no_delay_is_longer_than_the_longest(self, lives: list[float], jitter: float) -> None:
        backoff = Backoff()
        for lived in lives:
            backoff = backoff.after(lived)
        assert 0 < backoff.delay_seconds(jitter) <= LONGEST_SECONDS

    def test_short_lives_in_a_row_double_the_delay_and_a_sound_one_forgives_them(self) -> None:
        backoff = Backoff().after(0.0).after(0.0).after(0.0)
        assert backoff.delay_seconds(0.0) == pytest.approx(4 * Backoff().after(0.0).delay_seconds(0.0))
        assert backoff.after(SOUND_LIFE_SECONDS).delay_seconds(0.0) == Backoff().delay_seconds(0.0)
