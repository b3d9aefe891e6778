"""Why the learners' Job makes no pods. Its controller says so in Events alone: quotas, Pod Security, limit ranges."""

from __future__ import annotations

import time
from datetime import datetime

from stepstream_operator.api.status_types import ConditionType
from stepstream_operator.children import LEARNER
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import EVENTS, Object
from stepstream_operator.runtime.server_clock import parse_time
from stepstream_operator.runtime.store import Key
from stepstream_operator.status import Observed, learners_lost_at

# The Job's controller backs off itself; asking more often would tell nothing new.
ASK_SECONDS = 10.0
# While there are none and nothing is known: those on their way need no question, and refused ones are told of soon.
ASK_AGAIN_SECONDS = 2.0


class CreationFailures:
    """Remembers what was said last, so that a job in trouble costs one request in a while."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._said: dict[Key, tuple[str, float, str]] = {}

    def sentence(self, job: Key, observed: Observed, learners: int) -> str | None:
        """The problem as a sentence; None where all `learners` are there, or nothing is known. Raises RequestFailed."""
        learner_job, previous = observed.learner_job, observed.previous
        if learner_job is None or previous.holds(ConditionType.Ready) or not observed.missing_learners(learners):
            self._said.pop(job, None)
            return None
        uid, asked, said = self._said.get(job, ("", 0.0, ""))
        rest = ASK_SECONDS if said or observed.of_role(LEARNER) else ASK_AGAIN_SECONDS
        if uid != learner_job.uid or time.monotonic() - asked >= rest:
            said = self._ask(job[0], learner_job.uid, learners_lost_at(previous))
            self._said[job] = (learner_job.uid, time.monotonic(), said)
        return f"learners cannot be created: {said}" if said else None

    def forget(self, job: Key) -> None:
        self._said.pop(job, None)

    def _ask(self, namespace: str, uid: str, since: datetime | None) -> str:
        """What was said last, but not of what was overcome before `since`: Events outlive their cause by an hour."""
        query = {"fieldSelector": f"regarding.uid={uid},reason=FailedCreate", "limit": "20"}
        events = self._client.list_page(EVENTS, namespace, query).get("items") or ()
        newest = max(events, key=lambda event: int(event["metadata"]["resourceVersion"]), default=None)
        if newest is None or (since is not None and _last_told(newest) < since):
            return ""
        return str(newest.get("note") or "")


def _last_told(event: Object) -> datetime:
    """Recorders of both generations are about: one counts repeats in a series, the other in what is deprecated now."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("deprecatedLastTimestamp"), event.get("eventTime"))
    return parse_time(next((time for time in times if time), event["metadata"]["creationTimestamp"]))
