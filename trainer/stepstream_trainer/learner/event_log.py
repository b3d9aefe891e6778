"""The history of a run: metrics.jsonl (one JSON object a line) and TensorBoard event files, both indexed by steps.

A resume at step S goes on from S, so what a lost attempt wrote beyond S would appear twice: opening cuts those lines
off, and a torn last one, and tells TensorBoard to forget them. A disk that refuses never stops training: the line is
lost and the log says so.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stepstream_trainer.history import METRICS_FILE, as_line
from stepstream_trainer.learner.tensorboard_file import TensorBoardFile
from stepstream_trainer.logs import get_log

TENSORBOARD_DIRECTORY = "tensorboard"

_log = get_log("event_log")

_SCALARS = {
    "episodeReturn": "episode/return",
    "episodeLength": "episode/length_steps",
    "stepsPerSecond": "speed/steps_per_second",
    "policyLag": "speed/policy_lag_updates",
    "learningRate": "optimiser/learning_rate",
}
"""Fields of a line that TensorBoard shows, and under which tag. Losses go to loss/<name>, fractions to time/<phase>."""


class EventLog:
    """Appends to the history of one run. One thread at a time; each line reaches the file before `append` returns."""

    def __init__(
        self, run_directory: Path, *, attempt: int, resumed_at: int, unix_time: Callable[[], float] = time.time
    ) -> None:
        """`resumed_at` is the step of the checkpoint that this attempt begins from, 0 for a fresh job."""
        run_directory.mkdir(parents=True, exist_ok=True)
        self._attempt = attempt
        self._unix_time = unix_time
        self._phase_seconds: dict[str, float] = {}
        path = run_directory / METRICS_FILE
        drop_later_lines(path, resumed_at)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._line_is_whole = True
        self._tensorboard = TensorBoardFile(run_directory / TENSORBOARD_DIRECTORY, forget_from=resumed_at + 1)

    def append(self, status: Mapping[str, Any], *, losses: Mapping[str, float], learning_rate: float) -> None:
        """One line from a LearnerStatus snapshot and the latest update's figures."""
        line = self._line(status, losses, learning_rate)
        try:
            self._write(line)
            self._draw(line)
        except OSError as error:
            _log.warning("history_line_lost", error=str(error), steps=line["steps"])

    def evaluated(self, *, step: int, mean_return: float) -> None:
        """TensorBoard shows it beside the returns in training; its own file holds the rest."""
        try:
            self._tensorboard.add({"evaluation/return": mean_return}, step=step, unix_time=self._unix_time())
        except OSError as error:
            _log.warning("history_line_lost", error=str(error), steps=step)

    def close(self) -> None:
        self._tensorboard.close()
        os.close(self._file)

    def _line(self, status: Mapping[str, Any], losses: Mapping[str, float], learning_rate: float) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._unix_time(), UTC)
        return {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "attempt": self._attempt,
            **{
                name: status[name] for name in ("steps", "frames", "updates", "episodes", "stepsPerSecond", "policyLag")
            },
            "episodeReturn": status["episodeReturn"],
            "episodeLength": status["episodeLength"],
            "learningRate": learning_rate,
            "losses": dict(losses),
            "phaseFractions": self._fractions(status["phaseSeconds"]),
        }

    def _fractions(self, phase_seconds: Mapping[str, float]) -> dict[str, float]:
        """Of the loop's time since the line before, by phase; they add up to 1, or are empty when no time passed."""
        spent = {phase: value - self._phase_seconds.get(phase, 0.0) for phase, value in phase_seconds.items()}
        self._phase_seconds = dict(phase_seconds)
        whole = sum(spent.values())
        return {phase: round(value / whole, 4) for phase, value in spent.items()} if whole > 0 else {}

    def _write(self, line: Mapping[str, Any]) -> None:
        """After a torn write the next line starts on one of its own, so that only one is lost."""
        data = (b"" if self._line_is_whole else b"\n") + _encode(line)
        self._line_is_whole = False
        written = os.write(self._file, data)
        if written < len(data):
            raise OSError(f"{written} of {len(data)} bytes could be written")
        self._line_is_whole = True

    def _draw(self, line: Mapping[str, Any]) -> None:
        scalars = {tag: line[name] for name, tag in _SCALARS.items() if line[name] is not None}
        scalars |= {f"loss/{name}": value for name, value in line["losses"].items()}
        scalars |= {f"time/{phase}": value for phase, value in line["phaseFractions"].items()}
        self._tensorboard.add(scalars, step=line["steps"], unix_time=self._unix_time())


def drop_later_lines(path: Path, step: int) -> None:
    """Cut the file off after its last whole line up to `step`, which no disk is too full for. Steps rise with lines."""
    if not path.exists():
        return
    read = kept = 0
    with path.open("rb") as file:
        for text in file:
            read += len(text)
            line = as_line(text)
            if line is not None and text.endswith(b"\n") and line["steps"] <= step:
                kept = read
    if kept < read:
        os.truncate(path, kept)


def _encode(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"
