"""Events on a TrainingJob: what a person would ask about afterwards, said at most once."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from stepstream_operator.controller.job_log import JobLog
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError, RequestFailed
from stepstream_operator.runtime.resources import EVENTS, TRAINING_JOBS, Object

log = JobLog("operator.events")
MAX_NOTE = 1024  # events.k8s.io/v1
REPORTER = "stepstream.dev/operator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """`reason` is the machine's word in CamelCase, `note` the person's sentence. `occasion` tells repeats apart."""

    reason: str
    note: str
    warning: bool = False
    occasion: str = ""


class EventRecorder:
    """Names are derived from what happened: telling the same again after a restart of the operator adds nothing."""

    def __init__(self, client: Client, instance: str) -> None:
        self._client, self._instance = client, instance

    def tell(self, job: Object, happening: Happening) -> None:
        """Sends an Event. A refusal is logged and no more: nothing depends on events."""
        metadata = job["metadata"]
        try:
            self._client.create(EVENTS, metadata["namespace"], self._event(job, happening))
        except ApiError as error:
            if error.code != 409:
                log.warning("event_refused", reason=happening.reason, error=str(error))
        except RequestFailed as error:
            log.warning("event_not_sent", reason=happening.reason, error=str(error))

    def _event(self, job: Object, happening: Happening) -> Object:
        metadata = job["metadata"]
        told = f"{metadata['uid']}/{happening.reason}/{happening.occasion}/{happening.note}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
            "eventTime": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": REPORTER,
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": happening.reason,
            "note": happening.note.encode()[:MAX_NOTE].decode(errors="ignore"),
            "type": "Warning" if happening.warning else "Normal",
            "regarding": {
                "apiVersion": TRAINING_JOBS.api_version,
                "kind": TRAINING_JOBS.kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }
