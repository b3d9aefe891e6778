"""Why the learners' Job makes no pods. Its controller says so in Events alone: quotas, Pod Security, limit ranges."""

from __future__ import annotations

import time

from stepstream_operator.children import LEARNER
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import EVENTS
from stepstream_operator.runtime.store import Key
from stepstream_operator.status import Observed

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
        learner_job = observed.learner_job
        if learner_job is None or not observed.missing_learners(learners):
            self._said.pop(job, None)
            return None
        uid, asked, said = self._said.get(job, ("", 0.0, ""))
        rest = ASK_SECONDS if said or observed.of_role(LEARNER) else ASK_AGAIN_SECONDS
        if uid != learner_job.uid or time.monotonic() - asked >= rest:
            said = self._ask(job[0], learner_job.uid)
            self._said[job] = (learner_job.uid, time.monotonic(), said)
        return f"learners cannot be created: {said}" if said else None

    def forget(self, job: Key) -> None:
        self._said.pop(job, None)

    def _ask(self, namespace: str, uid: str) -> str:
        query = {"fieldSelector": f"regarding.uid={uid},reason=FailedCreate", "limit": "20"}
        events = self._client.list_page(EVENTS, namespace, query).get("items") or ()
        newest = max(events, key=lambda event: int(event["metadata"]["resourceVersion"]), default=None)
        return str(newest.get("note") or "") if newest else ""
