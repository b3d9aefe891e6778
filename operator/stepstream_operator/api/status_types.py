"""A TrainingJob's status. Conditions are the contract; phase, message and summaries are for people.

Times are RFC 3339 in UTC, to the second. Numbers that are no integers are strings.
"""

import enum
from dataclasses import dataclass

from stepstream_trainer.config import Mode
from stepstream_trainer.config.fields import MAX_INT32, MAX_STEPS, spec_field

MAX_MESSAGE: int = 1024
MAX_LOG: int = 2048


class Phase(enum.StrEnum):
    """For display only: nothing decides by it."""

    Pending = "Pending"
    Starting = "Starting"
    Calibrating = "Calibrating"
    Running = "Running"
    Suspended = "Suspended"
    Restarting = "Restarting"
    Succeeded = "Succeeded"
    Failed = "Failed"


class ConditionType(enum.StrEnum):
    """Accepted: the spec can be worked with. Admitted: its queue, if any, lets it start. Ready: all learners are.

    Degraded: it goes on with less than it should have. Suspended, Complete, Failed: as for a Job.
    """

    Accepted = "Accepted"
    Admitted = "Admitted"
    Ready = "Ready"
    Degraded = "Degraded"
    Suspended = "Suspended"
    Complete = "Complete"
    Failed = "Failed"


class ConditionStatus(enum.StrEnum):
    True_ = "True"
    False_ = "False"
    Unknown = "Unknown"


def count(doc: str, default: int = 0) -> int:
    return spec_field(doc=doc, default=default, minimum=0, maximum=MAX_STEPS)  # type: ignore[no-any-return]


def small_count(doc: str) -> int:
    return spec_field(doc=doc, default=0, minimum=0, maximum=MAX_INT32)  # type: ignore[no-any-return]


def text(doc: str, max_length: int = MAX_MESSAGE) -> str:
    return spec_field(doc=doc, default="", max_length=max_length)  # type: ignore[no-any-return]


def time(doc: str) -> str | None:
    return spec_field(doc=doc, default=None, format="date-time", max_length=64)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One condition, as Kubernetes' API conventions have it."""

    type: ConditionType = spec_field(doc="What the condition is about.")
    status: ConditionStatus = spec_field(doc="Whether it holds.")
    observed_generation: int = count("Generation of the spec that was judged.")
    last_transition_time: str = spec_field(doc="When `status` changed last.", format="date-time", max_length=64)
    reason: str = spec_field(
        doc="The cause as one CamelCase word.", max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
    )
    message: str = text("The cause as a sentence.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeDecision:
    """Why `Auto` became what it is."""

    selected: Mode = spec_field(doc="The mode chosen.")
    sync_steps_per_second: int = count("Measured in mode Sync.")
    async_steps_per_second: int = count("Measured in mode Async.")
    policy_lag: str = text("Mean policy lag in mode Async, in updates.", 32)
    reason: str = text("The choice in one sentence.")


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleStatus:
    """Pods of one role."""

    desired: int = small_count("Pods there should be.")
    replicas: int = small_count("Pods there are.")
    ready: int = small_count("Pods that are ready.")
    summary: str = text("Ready and desired, such as 7/8.", 32)
    selector: str = text("Label selector of the pods, as an autoscaler wants it.", 512)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the job is. Written at most every 15 seconds, and only when it changed."""

    steps: int = count("Steps made (one action in one environment).")
    steps_summary: str = text("Steps for people, such as 12.4M.", 32)
    frames: int = count("Atari frames emulated: steps times frame skip.")
    updates: int = count("Optimiser updates.")
    steps_per_second: int = count("Steps per second.")
    episode_return: str | None = spec_field(doc="Mean true return of the latest episodes.", default=None, max_length=32)
    policy_lag: str | None = spec_field(doc="Mean policy lag, in updates.", default=None, max_length=32)
    percent: str = text("Part of the budget that is used, such as 62%.", 32)
    estimated_remaining_seconds: int | None = spec_field(
        doc="Seconds until the budget is used.", default=None, minimum=0, maximum=MAX_STEPS
    )
    remaining: str = text("The same for people, such as 1h20m.", 32)
    last_update_time: str | None = time("When this was written.")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointStatus:
    """The newest whole checkpoint."""

    step: int = count("Its number of steps.")
    path: str = text("Its path on the volume.")
    time: str | None = time("When it was written.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The latest failure of a learner, or what ended the job."""

    reason: str = text("One CamelCase word.", 128)
    message: str = text("One sentence.")
    role: str = text("learner or simulator.", 32)
    pod: str = text("Name of the pod.", 253)
    exit_code: int | None = spec_field(doc="Exit code of its container.", default=None, minimum=-1, maximum=MAX_INT32)
    log: str = text("Its last log lines.", MAX_LOG)
    attempt: int = small_count("The attempt that failed.")
    time: str | None = time("When it was seen.")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """How a job stands."""

    observed_generation: int = count("Generation of the spec that this status is about.")
    phase: Phase = spec_field(doc="For display only: conditions are the contract.", default=Phase.Pending)
    message: str = text("The one sentence a person needs.")
    conditions: tuple[Condition, ...] = spec_field(doc="The contract.", default=(), list_key="type", max_items=16)
    mode: Mode | None = spec_field(doc="The mode the job runs in.", default=None)
    mode_decision: ModeDecision | None = spec_field(doc="Why mode Auto became what it is.", default=None)
    start_time: str | None = time("When the job was first given learners.")
    completion_time: str | None = time("When the job ended.")
    last_resume_time: str | None = time("When the job was last resumed.")
    attempt: int = small_count("Lives of the learner set so far; rises at every restart and resume.")
    restarts: int = small_count("Restarts after failures; counted against backoffLimit.")
    learners: RoleStatus = spec_field(doc="The learners' pods.", default_factory=RoleStatus)
    simulators: RoleStatus = spec_field(doc="The simulators' pods.", default_factory=RoleStatus)
    progress: Progress | None = spec_field(doc="How far the job is.", default=None)
    checkpoint: CheckpointStatus | None = spec_field(doc="The newest whole checkpoint.", default=None)
    failure: Failure | None = spec_field(doc="The latest failure.", default=None)

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type is kind), None)

    def holds(self, kind: ConditionType) -> bool:
        """Whether the condition is there and True."""
        found = self.condition(kind)
        return found is not None and found.status is ConditionStatus.True_

    @property
    def finished(self) -> bool:
        return self.holds(ConditionType.Complete) or self.holds(ConditionType.Failed)
