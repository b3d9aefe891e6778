"""What the end of a process means for the run. Pure; the supervisor acts on it."""

from dataclasses import dataclass
from enum import Enum, auto

from stepstream_operator.local.processes import describe_exit
from stepstream_trainer.config import contract


class Verdict(Enum):
    """What happens next."""

    SUCCEEDED = auto()
    FAILED = auto()
    PAUSED = auto()
    RESTART = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """How a process ended: its name, exit code (128 + signal) and the last line it wrote."""

    name: str
    exit_code: int
    last_words: str
    log: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """`restarts` counts the crashes of the run so far, this one included."""

    verdict: Verdict
    restarts: int
    message: str


def judge_learner(death: Death, *, stopping: bool, restarts: int, backoff_limit: int) -> Judgement:
    """`stopping`: the user has asked for the end of the run. A resume that was asked for counts as no crash."""
    if death.exit_code == contract.EXIT_DONE:
        return Judgement(verdict=Verdict.SUCCEEDED, restarts=restarts, message="")
    if death.exit_code == contract.EXIT_INVALID:
        return Judgement(verdict=Verdict.FAILED, restarts=restarts, message=death.last_words)
    if stopping:
        return Judgement(verdict=Verdict.PAUSED, restarts=restarts, message=_ending_while_stopping(death))
    if death.exit_code == contract.EXIT_RESUME:
        return Judgement(
            verdict=Verdict.RESTART, restarts=restarts, message=f"{death.name} asked to be resumed, and is"
        )
    if restarts >= backoff_limit:
        return Judgement(verdict=Verdict.FAILED, restarts=restarts + 1, message=_out_of_restarts(death, restarts))
    return Judgement(
        verdict=Verdict.RESTART,
        restarts=restarts + 1,
        message=f"{death.name} {describe_exit(death.exit_code)}{_quoted(death)}; "
        f"restart {restarts + 1} of {backoff_limit} (spec.backoffLimit)",
    )


def _ending_while_stopping(death: Death) -> str:
    if death.exit_code == contract.EXIT_RESUME:
        return ""
    return f"{death.name} {describe_exit(death.exit_code)} before it had written a checkpoint"


def _out_of_restarts(death: Death, restarts: int) -> str:
    return (
        f"{death.name} {describe_exit(death.exit_code)}{_quoted(death)}, after {restarts} restarts "
        f"(spec.backoffLimit); see {death.log}"
    )


def _quoted(death: Death) -> str:
    return f" ({death.last_words})" if death.last_words else ""
