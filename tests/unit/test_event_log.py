"""metrics.jsonl: what a resume keeps, what a crash tears, what a full disk costs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stepstream_trainer.history import METRICS_FILE, read_history
from stepstream_trainer.learner.event_log import TENSORBOARD_DIRECTORY, EventLog, drop_later_lines
from stepstream_trainer.learner.metrics import LoopPhase
from stepstream_trainer.learner.status import Identity, LearnerStatus, Progress
from tests.support.full_disk import files_limited_to


def snapshot(steps: int, **phases: float) -> dict[str, Any]:
    status = LearnerStatus(Identity(job="j", attempt=1, rank=0, frame_skip=4), total_steps=100)
    seconds = {LoopPhase(name): value for name, value in phases.items()}
    status.advance(Progress(steps=steps, episode_return=1.5, phase_seconds=seconds))
    return status.snapshot()


def write(directory: Path, *steps: int, attempt: int = 1, resumed_at: int = 0) -> None:
    log = EventLog(directory, attempt=attempt, resumed_at=resumed_at, unix_time=lambda: 1_700_000_000.0)
    for step in steps:
        log.append(snapshot(step), losses={"policy": 0.25}, learning_rate=1e-3)
    log.close()


def history(directory: Path) -> list[dict[str, Any]]:
    return list(read_history(directory / METRICS_FILE))


def scalars(directory: Path, tag: str) -> list[Any]:
    events: list[Any] = EventAccumulator(str(directory / TENSORBOARD_DIRECTORY)).Reload().Scalars(tag)
    return events


def test_a_line_holds_time_attempt_counts_returns_losses_and_fractions(tmp_path: Path) -> None:
    write(tmp_path, 10)
    [line] = history(tmp_path)
    assert line["time"] == "2023-11-14T22:13:20.000Z"
    assert (line["attempt"], line["steps"], line["frames"]) == (1, 10, 40)
    assert (line["episodeReturn"], line["losses"], line["learningRate"]) == (1.5, {"policy": 0.25}, 1e-3)


def test_phase_fractions_are_of_the_time_since_the_line_before(tmp_path: Path) -> None:
    log = EventLog(tmp_path, attempt=1, resumed_at=0)
    log.append(snapshot(1, wait=8.0, optimise=2.0), losses={}, learning_rate=0.0)
    log.append(snapshot(2, wait=9.0, optimise=5.0), losses={}, learning_rate=0.0)
    log.close()
    assert [line["phaseFractions"]["wait"] for line in history(tmp_path)] == [0.8, 0.25]


def test_a_resume_drops_the_lines_beyond_its_step(tmp_path: Path) -> None:
    write(tmp_path, 10, 20, 30, 40)
    write(tmp_path, 25, 35, attempt=2, resumed_at=20)
    assert [(line["attempt"], line["steps"]) for line in history(tmp_path)] == [(1, 10), (1, 20), (2, 25), (2, 35)]


def test_a_line_torn_by_a_crash_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    write(tmp_path, 10, 20)
    path = tmp_path / METRICS_FILE
    os.truncate(path, path.stat().st_size - 7)
    write(tmp_path, 30, attempt=2, resumed_at=20)
    assert [line["steps"] for line in history(tmp_path)] == [10, 30]
    assert len(path.read_text().splitlines()) == 2


def test_a_line_torn_by_a_full_disk_takes_no_other_with_it(tmp_path: Path) -> None:
    log = EventLog(tmp_path, attempt=1, resumed_at=0)
    log.append(snapshot(10), losses={}, learning_rate=0.0)
    with files_limited_to((tmp_path / METRICS_FILE).stat().st_size + 9):
        log.append(snapshot(20), losses={}, learning_rate=0.0)
    log.append(snapshot(30), losses={}, learning_rate=0.0)
    log.close()
    write(tmp_path, 40, attempt=2, resumed_at=30)
    assert [line["steps"] for line in history(tmp_path)] == [10, 30, 40]


def test_a_resume_on_a_full_disk_drops_the_lines_beyond_its_step(tmp_path: Path) -> None:
    write(tmp_path, 10, 20, 30)
    with files_limited_to(0):
        drop_later_lines(tmp_path / METRICS_FILE, 20)
    assert [line["steps"] for line in history(tmp_path)] == [10, 20]


def test_a_history_without_later_lines_is_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, 10, 20)
    inode = (tmp_path / METRICS_FILE).stat().st_ino
    write(tmp_path, 30, attempt=2, resumed_at=20)
    assert (tmp_path / METRICS_FILE).stat().st_ino == inode


def test_a_disk_that_refuses_costs_the_line_and_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(tmp_path, attempt=1, resumed_at=0)
    with files_limited_to(100):
        log.append(snapshot(10), losses={}, learning_rate=0.0)
    log.append(snapshot(20), losses={}, learning_rate=0.0)
    log.close()
    assert [line["steps"] for line in history(tmp_path)] == [20]
    assert "history_line_lost" in caplog.text
    assert [event.step for event in scalars(tmp_path, "episode/return")] == [20]


def test_tensorboard_shows_the_same_figures_and_forgets_what_a_resume_drops(tmp_path: Path) -> None:
    write(tmp_path, 10, 20, 30)
    write(tmp_path, 25, attempt=2, resumed_at=20)
    assert [event.step for event in scalars(tmp_path, "episode/return")] == [10, 20, 25]
    assert scalars(tmp_path, "loss/policy")[0].value == 0.25


def test_every_line_is_one_json_object(tmp_path: Path) -> None:
    write(tmp_path, 10, 20)
    assert all(isinstance(json.loads(line), dict) for line in (tmp_path / METRICS_FILE).read_text().splitlines())
