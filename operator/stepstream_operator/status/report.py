"""A learner's answer to GET /status, as far as a job's status needs it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, datetime
from typing import Any, Final

from stepstream_operator.api.status_types import MAX_MESSAGE, ModeDecision
from stepstream_operator.status.words import clipped
from stepstream_trainer.config import Mode
from stepstream_trainer.config.fields import MAX_STEPS

FIRST_YEAR: Final = 1000  # earlier ones have fewer than RFC 3339's four digits


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerReport:
    """Counts are since the job began; rank 0 tells the whole job's. `mode` is Sync or Async, never Auto."""

    rank: int = 0
    attempt: int = 0
    phase: str = "Running"
    message: str = ""
    mode: Mode = Mode.Sync
    steps: int = 0
    frames: int = 0
    updates: int = 0
    steps_per_second: float = 0.0
    episode_return: float | None = None
    policy_lag: float | None = None
    checkpoint_step: int | None = None
    checkpoint_path: str = ""
    checkpoint_time: str | None = None
    mode_decision: ModeDecision | None = None
    """Where the job left the mode to its learners, once they have decided."""


def learner_report(answer: Mapping[str, Any]) -> LearnerReport:
    """Raises KeyError, TypeError or ValueError where the answer is not a learner's.

    An image may hold any program: what is returned here can be written to a status, whatever it said.
    """
    checkpoint = answer["checkpoint"]
    step = checkpoint["step"]
    return LearnerReport(
        rank=_count(answer["rank"]),
        attempt=_count(answer["attempt"]),
        phase=_text(answer["phase"]),
        message=_text(answer["message"]),
        mode=Mode(answer["mode"]),
        steps=_count(answer["steps"]),
        frames=_count(answer["frames"]),
        updates=_count(answer["updates"]),
        steps_per_second=_rate(answer["stepsPerSecond"]),
        episode_return=_figure(answer["episodeReturn"]),
        policy_lag=_figure(answer["policyLag"]),
        checkpoint_step=None if step is None else _count(step),
        checkpoint_path=_text(checkpoint["path"]),
        checkpoint_time=_time(checkpoint["time"]),
        mode_decision=_decision(answer.get("modeDecision")),
    )


def _decision(answer: Mapping[str, Any] | None) -> ModeDecision | None:
    if answer is None:
        return None
    lag = _figure(answer["policyLag"])
    return ModeDecision(
        selected=Mode(answer["selected"]),
        sync_steps_per_second=int(_rate(answer["syncStepsPerSecond"])),
        async_steps_per_second=int(_rate(answer["asyncStepsPerSecond"])),
        policy_lag="" if lag is None else f"{lag:.1f}",
        reason=_text(answer["reason"]),
    )


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a count that is none")
    return min(value, MAX_STEPS)


def _figure(value: object) -> float | None:
    """Any number: a return that has become NaN is worth being told."""
    if value is None:
        return None
    if not isinstance(value, (int, float)) or (isinstance(value, int) and abs(value) > MAX_STEPS):
        raise ValueError("a figure that is none")
    return float(value)


def _rate(value: object) -> float:
    rate = _figure(value) or 0.0
    if not 0.0 <= rate < math.inf:
        raise ValueError("a rate that is none")
    return min(rate, float(MAX_STEPS))


def _text(value: object) -> str:
    """As the API server takes it: of bounded length, and without halves of surrogate pairs, which JSON can spell."""
    return clipped(str(value or ""), MAX_MESSAGE).encode(errors="replace").decode()


def _time(value: object) -> str | None:
    """RFC 3339. Raises ValueError also for years that cannot be written so in every time zone."""
    if not value:
        return None
    moment = datetime.fromisoformat(str(value))
    if not FIRST_YEAR < moment.year < MAXYEAR:
        raise ValueError("a time that is none")
    return str(value)
