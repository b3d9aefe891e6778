"""The last words of `stepstream run`: how it ended, where that is written, and what to type next."""

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepstream_operator.api.status_types import ConditionType, JobStatus
from stepstream_operator.local.display import duration
from stepstream_operator.local.run_directory import RunDirectory
from stepstream_operator.status.lifecycle import INVALID_INPUT
from stepstream_operator.status.words import last_line

NAME = "stepstream"
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_PAUSED = 128 + signal.SIGINT
_TAIL_BYTES = 65536


def program() -> str:
    """How this command is typed here: by its name where the shell finds it, else by the path it was started by."""
    started = Path(sys.argv[0])
    if started.name != NAME or shutil.which(NAME) is not None:
        return NAME
    here, there = Path.cwd(), started.absolute()
    return str(there.relative_to(here) if there.is_relative_to(here) else there)


def exit_code(status: JobStatus) -> int:
    """Of a run that ended with this status."""
    if status.holds(ConditionType.Complete):
        return EXIT_OK
    return EXIT_FAILED if status.holds(ConditionType.Failed) else EXIT_PAUSED


def last_words(
    status: JobStatus, directory: RunDirectory, resume_command: str, elapsed_seconds: float
) -> Iterator[str]:
    """The lines to print."""
    run = directory.shown
    if status.holds(ConditionType.Complete):
        yield f"{run}: complete after {duration(elapsed_seconds)}: {standing(directory)}"
        yield "Look at it with:"
        yield from (f"  {program()} {command} {run}" for command in ("evaluate", "video", "plot"))
        return
    if status.holds(ConditionType.Failed):
        yield f"{run}: failed: {_cause(status)}"
        yield f"Its processes' own words are in {run}/logs/"
        return
    checkpoint = newest_checkpoint(directory)
    if checkpoint is None:
        yield f"{run}: stopped before its first checkpoint. Begin with:"
    else:
        yield f"{run}: stopped; its checkpoint is at {checkpoint:,} steps. Go on with:"
    yield f"  {resume_command}"


def _cause(status: JobStatus) -> str:
    """Of input that cannot work, the learner's sentence alone."""
    failure = status.failure
    said = last_line(failure.log) if failure is not None and failure.reason == INVALID_INPUT else ""
    return said or status.message


def standing(directory: RunDirectory) -> str:
    """`1,000,000 steps, mean return 18.20`, from the last line of the history."""
    line = _last_line(directory.path / "metrics.jsonl")
    if line is None:
        return "no step was made"
    episode_return = line.get("episodeReturn")
    mean = "" if episode_return is None else f", mean return {episode_return:.2f}"
    return f"{line['steps']:,} steps{mean}"


def newest_checkpoint(directory: RunDirectory) -> int | None:
    """Steps of the newest checkpoint."""
    manifests = sorted(directory.checkpoints.glob("checkpoint-*.json"))
    return int(json.loads(manifests[-1].read_text())["step"]) if manifests else None


def _last_line(path: Path) -> dict[str, Any] | None:
    """The last whole JSON line of a file that may be long."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        for text in reversed(file.read().splitlines()):
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                return line
    return None
