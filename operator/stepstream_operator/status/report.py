"""A learner's answer to GET /status, as far as a job's status needs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepstream_trainer.config import Mode


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerReport:
    """Counts are since the job began. `mode` is Sync or Async, whatever the job asked for."""

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


def learner_report(answer: Mapping[str, Any]) -> LearnerReport:
    """Raises KeyError, TypeError or ValueError where the answer is not a learner's."""
    checkpoint = answer["checkpoint"]
    return LearnerReport(
        rank=int(answer["rank"]),
        attempt=int(answer["attempt"]),
        phase=str(answer["phase"]),
        message=str(answer["message"] or ""),
        mode=Mode(answer["mode"]),
        steps=int(answer["steps"]),
        frames=int(answer["frames"]),
        updates=int(answer["updates"]),
        steps_per_second=float(answer["stepsPerSecond"] or 0.0),
        episode_return=answer["episodeReturn"],
        policy_lag=answer["policyLag"],
        checkpoint_step=checkpoint["step"],
        checkpoint_path=str(checkpoint["path"] or ""),
        checkpoint_time=checkpoint["time"],
    )
