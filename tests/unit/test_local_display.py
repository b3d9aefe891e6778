"""What the local runner shows of a run: figures, lines, the live panel, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stepstream_operator.api.status_types import ConditionType, Failure
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
from stepstream_operator.local.run_directory import RunDirectory
from stepstream_operator.status.lifecycle import INVALID_INPUT
from stepstream_trainer.learner.metrics import LoopPhase
from stepstream_trainer.learner.status import Identity, LearnerStatus, Progress
from tests.support.local_parts import status_with


def learner_answer(*, attempt: int = 1, steps: int = 500, **phases: float) -> dict[str, Any]:
    """What a real learner's /status says."""
    identity = Identity(job="cart", attempt=attempt, rank=0, frame_skip=4)
    status = LearnerStatus(identity, total_steps=1000)
    seconds = {LoopPhase(name): value for name, value in phases.items()}
    status.advance(Progress(steps=steps, episode_return=12.5, policy_lag=0.0, phase_seconds=seconds))
    status.checkpoint_written(step=400, path="c", time=1_700_000_000.0)
    return json.loads(json.dumps(status.snapshot()))  # type: ignore[no-any-return]


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

    @given(st.lists(st.floats(), max_size=50))
    def test_no_return_that_an_environment_can_give_ends_the_display(self, returns: list[float]) -> None:
        history = ReturnHistory()
        for each in returns:
            history.add(each)
        assert len(sparkline(history.points)) == len(history.points)


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
