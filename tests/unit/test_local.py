"""The local runner's parts: run directories, back-off, figures, display."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stepstream_operator.api import TrainingJob, load_job
from stepstream_operator.api.status_types import Condition, ConditionStatus, ConditionType, Failure, JobStatus
from stepstream_operator.api.status_types import Progress as JobProgress
from stepstream_operator.local.backoff import LONGEST_SECONDS, SOUND_LIFE_SECONDS, Backoff
from stepstream_operator.local.display import (
    LINE_SECONDS,
    LineDisplay,
    RunView,
    duration,
    line,
    make_display,
    panel,
)
from stepstream_operator.local.ending import exit_code, last_words
from stepstream_operator.local.figures import (
    HISTORY_POINTS,
    Figures,
    PhaseFractions,
    ReturnHistory,
    parse_figures,
    sparkline,
)
from stepstream_operator.local.opening import Start, check_open, immutable_changes
from stepstream_operator.local.plan import THREADS, Addresses, place, plan_processes, share_of_cores
from stepstream_operator.local.processes import ProcessSpec, start
from stepstream_operator.local.run_directory import RunDirectory, RunDirectoryError
from stepstream_operator.local.runner import how_to_train_on
from stepstream_operator.local.sockets import remove_left_sockets, socket_directory
from stepstream_operator.local.wakeup import Wakeup
from stepstream_operator.status.lifecycle import INVALID_INPUT
from stepstream_trainer.config.contract import at_rank
from stepstream_trainer.learner.metrics import LoopPhase
from stepstream_trainer.learner.status import Identity, LearnerStatus, Progress
from tests.support.full_disk import files_limited_to
from tests.support.local_run import write_job


def make_job(directory: Path, *overrides: str) -> TrainingJob:
    return load_job(write_job(directory / "cart.yaml"), overrides)


def make_run(directory: Path, job: TrainingJob) -> RunDirectory:
    run = RunDirectory(directory / "run", "run")
    with run.lock():
        run.save_job(job)
    return run


def learner_answer(*, attempt: int = 1, steps: int = 500, **phases: float) -> dict[str, Any]:
    """What a real learner's /status says."""
    identity = Identity(job="cart", attempt=attempt, rank=0, frame_skip=4)
    status = LearnerStatus(identity, total_steps=1000)
    seconds = {LoopPhase(name): value for name, value in phases.items()}
    status.advance(Progress(steps=steps, episode_return=12.5, policy_lag=0.0, phase_seconds=seconds))
    status.checkpoint_written(step=400, path="c", time=1_700_000_000.0)
    return json.loads(json.dumps(status.snapshot()))  # type: ignore[no-any-return]


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


class TestSockets:
    def test_the_directory_is_private_and_short_lived(self) -> None:
        with socket_directory() as path:
            assert Path(path).stat().st_mode & 0o777 == 0o700
            assert len(path) < 40
        assert not Path(path).exists()

    def test_only_directories_of_ours_are_removed(self, tmp_path: Path) -> None:
        for path in ("", str(tmp_path), "/tmp", "/tmp/../etc"):
            remove_left_sockets(path)
        assert tmp_path.exists()
        with socket_directory() as path:
            remove_left_sockets(path)
            assert not Path(path).exists()


class TestPlan:
    def test_processes_are_the_containers_of_the_children(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        plan = plan_processes(make_job(tmp_path), 3, place(run, Addresses(sockets="/s")), run)
        [learner] = plan.learners
        assert [spec.name for spec in plan.simulators] == ["cart-simulator-0", "cart-simulator-1"]
        assert learner.command == ("python", "-m", "stepstream_trainer.learner")
        assert learner.environment["STEPSTREAM_ATTEMPT"] == "3"
        dialled = at_rank(plan.simulators[0].environment["STEPSTREAM_LEARNER"], 0)
        assert dialled == learner.environment["STEPSTREAM_LISTEN"] == "unix:/s/learner-0.sock"
        assert list(plan.files) == [str(tmp_path / "config" / "job.json")]

    def test_ports_take_the_place_of_sockets(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        addresses = Addresses(sockets="/s", stream_port=7071, http_port=9091)
        plan = plan_processes(make_job(tmp_path), 1, place(run, addresses), run)
        assert plan.learners[0].environment["STEPSTREAM_LISTEN"] == "127.0.0.1:7071"
        assert plan.status_address == "127.0.0.1:9091"

    @pytest.mark.parametrize(
        ("ports", "listens"),
        [
            (
                {"stream_port": 7070, "http_port": 9090},
                [("127.0.0.1:7070", "127.0.0.1:9090"), ("127.0.0.1:7071", "127.0.0.1:9091")],
            ),
            (
                {},
                [
                    ("unix:/s/learner-0.sock", "unix:/s/learner-0-http.sock"),
                    ("unix:/s/learner-1.sock", "unix:/s/learner-1-http.sock"),
                ],
            ),
        ],
        ids=["ports", "sockets"],
    )
    def test_each_learner_listens_where_simulators_dial_its_rank(
        self, ports: dict[str, int], listens: list[tuple[str, str]], tmp_path: Path
    ) -> None:
        run = RunDirectory(tmp_path, "run")
        two = make_job(tmp_path, "spec.learners.replicas=2")
        plan = plan_processes(two, 1, place(run, Addresses(sockets="/s", **ports)), run)
        found = [(one.environment["STEPSTREAM_LISTEN"], one.environment["STEPSTREAM_HTTP"]) for one in plan.learners]
        assert found == listens
        target = plan.simulators[0].environment["STEPSTREAM_LEARNER"].removeprefix("dns:///")
        assert [at_rank(target, rank) for rank in range(2)] == [listen for listen, _ in listens]
        assert plan.status_address == listens[0][1]

    def test_learners_meet_on_the_loopback_interface_at_a_port_of_their_attempt(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        two = make_job(tmp_path, "spec.learners.replicas=2")
        plans = [plan_processes(two, 1, place(run, Addresses(sockets="/s")), run) for _ in range(20)]
        met = [{one.environment["STEPSTREAM_RENDEZVOUS"] for one in plan.learners} for plan in plans]
        assert {len(each) for each in met} == {1}
        assert len(set.union(*met)) > 1
        assert {one.environment["GLOO_SOCKET_IFNAME"] for one in plans[0].learners} == {"lo"}

    def test_a_lone_learner_meets_nobody(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        [learner] = plan_processes(make_job(tmp_path), 1, place(run, Addresses(sockets="/s")), run).learners
        assert not {"STEPSTREAM_RENDEZVOUS", "GLOO_SOCKET_IFNAME"} & learner.environment.keys()

    def test_learners_write_no_common_files(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        two = make_job(tmp_path, "spec.learners.replicas=2")
        plan = plan_processes(two, 1, place(run, Addresses(sockets="/s")), run)
        last_words = [one.environment["STEPSTREAM_FINAL_STATUS"] for one in plan.learners]
        assert last_words == [f"{tmp_path}/final-status.json", f"{tmp_path}/rank-1/final-status.json"]
        assert len({one.log for one in plan.learners}) == 2

    def test_the_longest_socket_path_fits_into_the_kernels_107_bytes(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        job = make_job(tmp_path, f"metadata.name={'n' * 40}", "spec.learners.environments=4096")
        job = replace(job, spec=replace(job.spec, simulators=replace(job.spec.simulators, replicas=4096)))
        with socket_directory() as sockets:
            plan = plan_processes(job, 1, place(run, Addresses(sockets=sockets)), run)
        processes = (*plan.simulators, *plan.learners)
        longest = max(len(spec.environment["STEPSTREAM_HTTP"].removeprefix("unix:")) for spec in processes)
        assert longest <= 107


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


class TestFigures:
    def test_a_learners_answer_is_read_whole(self) -> None:
        figures = parse_figures(learner_answer())
        assert (figures.steps, figures.frames, figures.percent, figures.episode_return) == (500, 2000, 50.0, 12.5)
        assert (figures.checkpoint_step, figures.checkpoint_time) == (400, 1_700_000_000.0)

    def test_fractions_are_of_the_time_between_two_answers(self) -> None:
        fractions = PhaseFractions()
        fractions.add(parse_figures(learner_answer(wait=10.0, optimise=10.0)), 0.0)
        fractions.add(parse_figures(learner_answer(wait=13.0, optimise=11.0)), 4.0)
        assert fractions.latest()["wait"] == 0.75

    def test_a_new_attempt_begins_new_fractions(self) -> None:
        fractions = PhaseFractions()
        fractions.add(parse_figures(learner_answer(wait=10.0)), 0.0)
        fractions.add(parse_figures(learner_answer(attempt=2, wait=1.0)), 1.0)
        assert fractions.latest() == {}

    @given(count=st.integers(1, 2000))
    def test_the_history_of_returns_stays_short_and_keeps_its_beginning(self, count: int) -> None:
        history = ReturnHistory()
        for value in range(count):
            history.add(float(value))
        assert history.points[0] == 0.0
        assert len(history.points) <= HISTORY_POINTS
        assert history.points == sorted(history.points)

    @pytest.mark.parametrize(("values", "bars"), [([], ""), ([3.0, 3.0], "▁▁"), ([0.0, 7.0, 3.5], "▁█▄")])
    def test_a_sparkline_runs_from_the_lowest_to_the_highest(self, values: list[float], bars: str) -> None:
        assert sparkline(values) == bars


def make_view(figures: Figures | None = None, *, unix_time: float = 1_700_000_012.0, phase: str = "Running") -> RunView:
    return RunView(
        title="cart",
        directory="runs/cart",
        phase=phase,
        message="",
        attempt=1,
        elapsed_seconds=5.0,
        unix_time=unix_time,
        simulators_up=1,
        simulators_wanted=2,
        figures=figures,
        fractions={"wait": 0.25, "inference": 0.25, "optimise": 0.5},
    )


class TestDisplay:
    def test_a_line_says_all_that_matters(self) -> None:
        assert line(make_view(parse_figures(learner_answer()))) == (
            "Running, 500/1,000 steps (50.0%), 2,000 frames, 0 steps/s, return 12.50, lag 0, left ?, waiting 25%, "
            "inference 25%, optimise 50%, simulators 1/2 up, checkpoint at 400, 12s ago"
        )

    def test_learners_are_counted_where_there_are_several(self) -> None:
        stream = io.StringIO()
        view = replace(make_view(parse_figures(learner_answer())), learners_up=1, learners_wanted=2)
        Console(file=stream, width=100).print(panel(view))
        for text in (line(view), line(replace(view, figures=None))):
            assert "learners 1/2 up, simulators 1/2 up" in text
        assert re.search(r"learners +1/2 up", stream.getvalue())

    def test_lines_come_at_intervals_and_at_changes_of_the_phase(self) -> None:
        stream = io.StringIO()
        display = LineDisplay(stream)
        for seconds, phase in ((0.0, "Starting"), (1.0, "Starting"), (2.0, "Running"), (2.0 + LINE_SECONDS, "Running")):
            display.show(make_view(unix_time=seconds, phase=phase))
        assert [text.split()[1] for text in stream.getvalue().splitlines()] == ["Starting,", "Running,", "Running,"]

    def test_the_panel_says_all_that_matters_and_fits_its_terminal(self) -> None:
        stream = io.StringIO()
        console = Console(file=stream, width=100, force_terminal=True, color_system=None)
        console.print(panel(make_view(parse_figures(learner_answer()))))
        text = stream.getvalue()
        for said in ("50.0%", "500 of 1,000", "2,000", "12.50", "1/2 up", "at 400, 12s ago", "waiting", "optimise"):
            assert said in text
        assert {len(row) for row in text.splitlines()} == {100}

    def test_before_the_learners_first_words_the_panel_says_what_is_awaited(self) -> None:
        stream = io.StringIO()
        Console(file=stream, width=80).print(panel(replace(make_view(), message="waiting for 1 learner")))
        assert "waiting for 1 learner" in stream.getvalue()

    def test_a_stream_that_is_no_terminal_gets_lines(self) -> None:
        stream = io.StringIO()
        make_display(stream).show(make_view())
        assert stream.getvalue().endswith(" Running, simulators 1/2 up\n")

    def test_a_reader_that_went_away_does_not_end_the_run(self) -> None:
        read, write = os.pipe()
        os.close(read)
        stream = os.fdopen(write, "w")
        display = make_display(stream)
        display.note("one")
        display.show(make_view())
        display.close()
        with pytest.raises(BrokenPipeError):
            stream.close()

    @pytest.mark.parametrize(
        ("seconds", "text"), [(None, "?"), (9.9, "9s"), (252.0, "4m 12s"), (3780.0, "1h 03m"), (360_000.0, "100h 00m")]
    )
    def test_durations_are_short(self, seconds: float | None, text: str) -> None:
        assert duration(seconds) == text


def status_with(kind: ConditionType, **fields: Any) -> JobStatus:
    condition = Condition(
        type=kind, status=ConditionStatus.True_, last_transition_time="2026-01-01T00:00:00Z", reason="R"
    )
    return JobStatus(conditions=(condition,), **fields)


class TestEnding:
    @pytest.mark.parametrize(
        ("kind", "code"), [(ConditionType.Complete, 0), (ConditionType.Failed, 1), (ConditionType.Suspended, 130)]
    )
    def test_the_exit_code_says_how_it_ended(self, kind: ConditionType, code: int) -> None:
        assert exit_code(status_with(kind)) == code

    def test_of_invalid_input_only_the_learners_sentence_is_said(self, tmp_path: Path) -> None:
        failure = Failure(
            reason=INVALID_INPUT, message="learner failed with exit code 78: x", log="12:00 y\nthe cause\n"
        )
        status = status_with(ConditionType.Failed, message=failure.message, failure=failure)
        assert next(last_words(status, RunDirectory(tmp_path, "run"), "", 1.0)) == "run: failed: the cause"

    def test_a_complete_run_tells_its_steps_and_its_return(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.jsonl").write_text('{"steps": 20480, "episodeReturn": 90.012}\n{"steps": 2')
        words = last_words(status_with(ConditionType.Complete), RunDirectory(tmp_path, "run"), "", 86.0)
        assert next(words) == "run: complete after 1m 26s: 20,480 steps, mean return 90.01"


def test_several_learners_on_one_machine_divide_its_cores_unless_somebody_has_said_otherwise() -> None:
    cores = len(os.sched_getaffinity(0))
    assert share_of_cores(2, {}) == {THREADS: str(max(1, cores // 2))}
    assert share_of_cores(10 * cores, {}) == {THREADS: "1"}
    assert share_of_cores(1, {}) == share_of_cores(2, {THREADS: "7"}) == {}


@pytest.mark.parametrize(("own", "threads"), [([], "1"), ([{"name": THREADS, "value": "5"}], "5")])
def test_a_jobs_own_number_of_threads_is_its_learners(
    own: list[dict[str, str]], threads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    template = {"spec": {"containers": [{"name": "learner", "env": own}]}}
    learners = {"replicas": 64, "environments": 64, "template": template}
    job = load_job(write_job(tmp_path / "cart.yaml", learners=learners, algorithm={"name": "A2C"}), ())
    run = make_run(tmp_path, job)
    plan = plan_processes(job, 1, place(run, Addresses(sockets="/s")), run)
    assert {learner.environment[THREADS] for learner in plan.learners} == {threads}
