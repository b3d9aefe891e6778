"""What happened between two statuses, as Events. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stepstream_operator.api.status_types import ConditionType, JobStatus
from stepstream_operator.controller.events import Happening


def happenings(before: JobStatus, after: JobStatus) -> Iterator[Happening]:
    """Every transition that a person would ask about, in the order of a job's life."""
    occasion = f"attempt {after.attempt}"
    if before.attempt == 0 and after.attempt:
        yield Happening(reason="Started", note="the first attempt begins", occasion=occasion)
    if after.restarts > before.restarts:
        said = after.failure.message if after.failure else "a learner failed"
        note = f"{said}; attempt {after.attempt} begins (restart {after.restarts})"
        yield Happening(reason="Restarting", note=note, warning=True, occasion=occasion)
    if _became(before, after, ConditionType.Suspended):
        yield Happening(reason="Suspended", note="learners write a checkpoint and all pods leave", occasion=occasion)
    if before.attempt and after.attempt > before.attempt and after.restarts == before.restarts:
        yield Happening(reason="Resumed", note=f"attempt {after.attempt} begins", occasion=occasion)
    if _queued(after) and not _queued(before):
        yield Happening(reason="Queued", note=after.message, occasion=_since(after, ConditionType.Admitted))
    if _queued(before) and after.holds(ConditionType.Admitted):
        note = "its learners may start"
        yield Happening(reason="Admitted", note=note, occasion=_since(after, ConditionType.Admitted))
    if _became(before, after, ConditionType.Ready):
        note = f"{after.learners.summary} learners are ready"
        yield Happening(reason="LearnersReady", note=note, occasion=_since(after, ConditionType.Ready))
    decision = after.mode_decision
    if decision is not None and decision != before.mode_decision:
        note = f"{decision.selected.value}: {decision.reason}"
        yield Happening(reason="ModeDecided", note=note, occasion=occasion)
    if _became(before, after, ConditionType.Degraded):
        since = _since(after, ConditionType.Degraded)
        yield Happening(reason="Degraded", note=after.message, warning=True, occasion=since)
    active = not after.finished and not after.holds(ConditionType.Suspended)
    if active and before.holds(ConditionType.Degraded) and not after.holds(ConditionType.Degraded):
        since = _since(after, ConditionType.Degraded)
        yield Happening(reason="Recovered", note="what was told as Degraded is over", occasion=since)
    if _became(before, after, ConditionType.Complete):
        yield Happening(reason="Complete", note=after.message, occasion=occasion)
    if _became(before, after, ConditionType.Failed):
        yield Happening(reason="Failed", note=after.message, warning=True, occasion=occasion)


def _became(before: JobStatus, after: JobStatus, kind: ConditionType) -> bool:
    return after.holds(kind) and not before.holds(kind)


def _queued(status: JobStatus) -> bool:
    admitted = status.condition(ConditionType.Admitted)
    return admitted is not None and not status.holds(ConditionType.Admitted)


def _since(status: JobStatus, kind: ConditionType) -> str:
    """When the condition became what it is: what happens twice in an attempt is told twice.

    With the attempt, for times have whole seconds, and two attempts may be ready within one.
    """
    condition = status.condition(kind)
    return f"attempt {status.attempt} since {condition.last_transition_time if condition else ''}"
