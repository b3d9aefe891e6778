"""The picture of what threads did: every span in its thread and in its time, and files that are joined."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from stepstream_trainer import trace as command
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase
from stepstream_trainer.learner.trace import MOST_SPANS, Trace, TraceFile
from stepstream_trainer.metrics import new_registry


def spans(trace: Trace) -> list[tuple[str, str, float, float]]:
    """(thread, name, begun, duration), seconds."""
    events = trace.events(process=0, process_name="learner 0")
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    return [
        (names[event["tid"]], event["name"], event["ts"] / 1e6, event["dur"] / 1e6)
        for event in events
        if event["ph"] == "X"
    ]


def test_a_span_ends_now_and_stands_in_the_line_of_its_thread() -> None:
    trace = Trace(clock=lambda: 100.0)
    trace.span("optimise", 2.0)
    other = threading.Thread(target=trace.span, args=("inference", 0.5), name="sampler")
    other.start()
    other.join()
    trace.span("steps", 1.0, thread="simulator a")
    assert spans(trace) == [
        (threading.current_thread().name, "optimise", 98.0, 2.0),
        ("sampler", "inference", 99.5, 0.5),
        ("simulator a", "steps", 99.0, 1.0),
    ]


def test_only_the_newest_spans_are_kept() -> None:
    trace = Trace()
    for number in range(MOST_SPANS + 3):
        trace.span(str(number), 0.0)
    assert next(name for _, name, _, _ in spans(trace)) == "3"
    assert len(spans(trace)) == MOST_SPANS


def test_time_that_is_accounted_to_a_phase_is_in_the_trace_but_for_what_is_left_over() -> None:
    trace = Trace()
    metrics = LearnerMetrics(new_registry(), frame_skip=1, trace=trace)
    metrics.spent(LoopPhase.CHECKPOINT, 0.25)
    metrics.spent(LoopPhase.OTHER, 0.125)
    metrics.waited(0.5)
    assert [(name, seconds) for _, name, _, seconds in spans(trace)] == [("checkpoint", 0.25), ("wait", 0.5)]


def test_the_traces_of_all_learners_are_joined_in_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rank in (0, 1):
        trace = Trace()
        trace.span(f"phase of {rank}", 1.0)
        TraceFile(trace, tmp_path, rank=rank).write()
    assert command.main([str(tmp_path)]) == 0
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {event["pid"]: event["name"] for event in events if event["ph"] == "X"} == {0: "phase of 0", 1: "phase of 1"}
    assert {event["args"]["name"] for event in events if event["name"] == "process_name"} == {"learner 0", "learner 1"}
    assert str(tmp_path / "trace.json") in capsys.readouterr().out


def test_a_disk_that_refuses_costs_the_trace_alone(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("in the way of the directory")
    TraceFile(Trace(), tmp_path, rank=0).write()
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]
    assert (tmp_path / "trace").read_text() == "in the way of the directory"


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "has no trace yet"), ("torn {", "cannot be read"), ("{}", "cannot be read")]
)
def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, content: str | None, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "trace").mkdir()
        (tmp_path / "trace" / "learner-0.json").write_text(content)
    assert command.main([str(tmp_path)]) == 78
    assert sentence in capsys.readouterr().err
