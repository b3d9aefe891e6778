"""Evaluations during a run: whole games by a checkpoint, played in a process beside the training, which does not wait.

loop ──due──> checkpoint ──begin──> `python -m stepstream_trainer.evaluate` ──ended──> RUN/evaluations/<step>.json, .gif
     ──poll, each iteration──────────────────────────────────────────────────────────> /status, metrics, TensorBoard

The games are seeded apart from training's, and training's state is not touched: a run with evaluations reaches the same
parameters as one without. One evaluation plays at a time; what falls due meanwhile is left out, and the log says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stepstream_trainer.config import EvaluationConfig
from stepstream_trainer.logs import get_log

EVALUATIONS_DIRECTORY = "evaluations"

_log = get_log("evaluation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """What one evaluation found: the mean true return over whole games of the policy at `step`."""

    step: int
    mean_return: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Playing:
    """A process at work on the checkpoint of `step`: answer and complaints go to files, which no length can block."""

    step: int
    process: subprocess.Popen[bytes]
    answer: Path
    complaints: Path


class Evaluations:
    """Loop thread only. `told` hears of each evaluation that ended well. `job` is the learner's own job.json."""

    def __init__(
        self, run_directory: Path, job: Path, config: EvaluationConfig, told: Callable[[Evaluated], None]
    ) -> None:
        self._run_directory = run_directory
        self._job = job
        self._directory = run_directory / EVALUATIONS_DIRECTORY
        self._config = config
        self._told = told
        self._due_at = config.interval_steps
        self._playing: _Playing | None = None

    def resumed(self, steps: int) -> None:
        """The next one is due at the next multiple of the interval."""
        if self._config.interval_steps:
            self._due_at = self._next_after(steps)

    def due(self, steps: int) -> bool:
        """Whether a checkpoint of this moment should be evaluated. True at most once an interval."""
        if not self._config.interval_steps or steps < self._due_at:
            return False
        self._due_at = self._next_after(steps)
        if self._playing is not None:
            _log.warning("evaluation_left_out", step=steps, still_playing=self._playing.step)
            return False
        return True

    def begin(self, step: int, checkpoint: Path) -> None:
        """Evaluate this checkpoint, which must stay on disk for the seconds until it is read."""
        command = [sys.executable, "-m", "stepstream_trainer.evaluate", str(self._run_directory), "--json"]
        command += ["--job", str(self._job), "--checkpoint", str(checkpoint), "--episodes", str(self._config.episodes)]
        if self._config.record_video:
            command += ["--video", str(self._directory / f"{step:012}.gif")]
        # One thread on the processor: the accelerator and the other cores are training's.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        answer, complaints = self._directory / f"{step:012}.partial", self._directory / f"{step:012}.log"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with answer.open("wb") as output, complaints.open("wb") as errors:
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
                )
        except OSError as error:
            _log.error("evaluation_failed", step=step, reason=str(error))
            return
        self._playing = _Playing(step=step, process=process, answer=answer, complaints=complaints)

    def poll(self) -> None:
        """Take in what has ended."""
        playing = self._playing
        if playing is None or playing.process.poll() is None:
            return
        self._playing = None
        try:
            complaint = _last_line(playing.complaints)
            if playing.process.returncode != 0:  # the answer may be there all the same, without its video
                _log.error("evaluation_failed", step=playing.step, code=playing.process.returncode, reason=complaint)
            found = json.loads(playing.answer.read_text())
            playing.answer.rename(playing.answer.with_suffix(".json"))
        except (OSError, ValueError):
            playing.answer.unlink(missing_ok=True)
            return
        finally:
            playing.complaints.unlink(missing_ok=True)
        _log.info("evaluated", step=playing.step, mean_return=found["meanReturn"], episodes=found["episodes"])
        self._told(Evaluated(step=playing.step, mean_return=found["meanReturn"]))

    def ended(self) -> bool:
        """Whether none is playing any more."""
        self.poll()
        return self._playing is None

    def close(self) -> None:
        """End what is playing; nothing is kept of it."""
        if self._playing is not None:
            self._playing.process.kill()
            self._playing.process.wait()
            self._playing.answer.unlink(missing_ok=True)
            self._playing.complaints.unlink(missing_ok=True)
            self._playing = None

    def _next_after(self, steps: int) -> int:
        interval = self._config.interval_steps
        return (steps // interval + 1) * interval


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")
