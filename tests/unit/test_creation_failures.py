"""Why learners cannot be created, told from Events, which outlive their cause."""

from __future__ import annotations

from typing import Any

import pytest

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.controller.creation_failures import CreationFailures
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import Object
from stepstream_operator.status import Observed
from tests.support.jobs import derived, learner_job, running

QUOTA = "exceeded quota: few"
EARLY, LATE = "2030-01-01T12:00:30.000000Z", "2030-01-01T12:01:30.000000Z"
STARTING = derived()
READY = running()
LOST = derived(seconds=60, previous=READY, learner_job=learner_job())
"""Learners were all ready until 12:01."""


def event(version: int = 1, note: str = QUOTA, **times: Any) -> Object:
    return {"metadata": {"resourceVersion": str(version), "creationTimestamp": EARLY}, "note": note, **times}


class Told(Client):
    """Has these Events and nothing else."""

    def __init__(self, *events: Object) -> None:
        self._events = events

    def list_page(self, *arguments: Any) -> Object:
        return {"items": list(self._events)}


def sentence(status: JobStatus, *events: Object) -> str | None:
    seen = Observed(previous=status, learner_job=learner_job())
    return CreationFailures(Told(*events)).sentence(("games", "pong"), seen, 1)


def test_what_was_said_last_is_the_reason() -> None:
    said = sentence(STARTING, event(9, "exceeded quota: other"), event(10), event(8, "forbidden"))
    assert said == f"learners cannot be created: {QUOTA}"


@pytest.mark.parametrize(
    "told_at",
    [
        lambda time: {"metadata": {"resourceVersion": "1", "creationTimestamp": time}},
        lambda time: {"eventTime": time, "series": None},
        lambda time: {"eventTime": EARLY, "series": {"count": 3, "lastObservedTime": time}},
        lambda time: {"eventTime": None, "deprecatedLastTimestamp": time},
    ],
    ids=["created", "once", "series", "counted the old way"],
)
def test_what_was_overcome_before_learners_were_lost_is_no_reason_and_what_came_after_is(told_at: Any) -> None:
    assert sentence(LOST, event() | told_at(EARLY)) is None
    assert sentence(LOST, event() | told_at(LATE)) == f"learners cannot be created: {QUOTA}"


def test_nothing_is_asked_before_the_status_says_that_learners_were_lost() -> None:
    assert sentence(READY, event(eventTime=LATE)) is None
