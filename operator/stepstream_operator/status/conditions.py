"""Conditions: set by type, and their transition time changed only when the status is."""

from dataclasses import dataclass, replace
from datetime import datetime

from stepstream_operator.api.status_types import MAX_MESSAGE, Condition, ConditionStatus, ConditionType
from stepstream_operator.status.words import clipped, timestamp


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is to be said under a condition type."""

    type: ConditionType
    holds: bool
    reason: str
    message: str = ""


def with_findings(
    conditions: tuple[Condition, ...], findings: list[Finding], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with the findings set, each in its place; new ones at the end."""
    result = {condition.type: condition for condition in conditions}
    for finding in findings:
        result[finding.type] = _condition(result.get(finding.type), finding, generation, now)
    return tuple(result.values())


def _condition(previous: Condition | None, finding: Finding, generation: int, now: datetime) -> Condition:
    status = ConditionStatus.True_ if finding.holds else ConditionStatus.False_
    fresh = Condition(
        type=finding.type,
        status=status,
        observed_generation=generation,
        last_transition_time=timestamp(now),
        reason=finding.reason,
        message=clipped(finding.message, MAX_MESSAGE),
    )
    if previous is not None and previous.status is status:
        return replace(fresh, last_transition_time=previous.last_transition_time)
    return fresh
