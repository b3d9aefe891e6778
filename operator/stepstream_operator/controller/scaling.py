"""Scales simulators between a job's bounds, through /scale like any autoscaler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.controller.autoscale import Limits, Scaling, Waiting, decide_simulators
from stepstream_operator.controller.job_log import JobLog
from stepstream_operator.controller.progress import Report
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import TRAINING_JOBS, Object
from stepstream_operator.runtime.store import Key
from stepstream_operator.status import previous_status

log = JobLog("operator.scaling")
FRESH_POLLS = 3.0  # of an answer that is acted on: one may be lost and one late


class SimulatorScaler:
    """Thread-safe: one worker at a time has a job. `clock` is this process's monotonic one, as reports have it."""

    def __init__(
        self,
        client: Client,
        *,
        rest_seconds: float,
        poll_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._rest_seconds, self._clock = client, rest_seconds, clock
        self._fresh_seconds = FRESH_POLLS * poll_seconds
        self._not_before: dict[Key, float] = {}

    def scale(self, job: TrainingJob, raw: Object, reports: Iterable[Report]) -> Scaling | None:
        """Writes a new number where one is due and returns it with its reason. Raises RequestFailed."""
        scaling = self._due(job, raw, self._fresh(reports))
        if scaling is None:
            return None
        version = raw["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": scaling.replicas}}
        self._client.merge(TRAINING_JOBS, job.namespace, job.name, body, subresource="scale")
        self._rest(job)
        log.info("scaled", simulators=scaling.replicas, reason=scaling.reason)
        return scaling

    def rests_for(self, job: Key) -> float | None:
        """Seconds until its number may change again; None where nothing is waited for."""
        remaining = self._not_before.get(job, 0.0) - self._clock()
        return remaining if remaining > 0 else None

    def forget(self, job: Key) -> None:
        self._not_before.pop(job, None)

    def _fresh(self, reports: Iterable[Report]) -> tuple[Report, ...]:
        """A learner that hangs starved once, and says nothing of what would help it now."""
        oldest = self._clock() - self._fresh_seconds
        return tuple(report for report in reports if report.received >= oldest)

    def _due(self, job: TrainingJob, raw: Object, reports: tuple[Report, ...]) -> Scaling | None:
        simulators = job.spec.simulators
        if simulators.min_replicas is None or simulators.max_replicas is None or job.spec.suspend:
            return None
        waiting = measured_waiting(reports)
        if waiting is None:
            return None
        if (job.namespace, job.name) not in self._not_before:
            # What was measured before this process began may be what an earlier one acted on already.
            self._rest(job)
        if self._clock() < self._not_before[job.namespace, job.name]:
            return None
        limits = Limits(minimum=simulators.min_replicas, maximum=simulators.max_replicas)
        return decide_simulators(simulators.replicas, previous_status(raw).simulators.ready, limits, waiting)

    def _rest(self, job: TrainingJob) -> None:
        self._not_before[job.namespace, job.name] = self._clock() + self._rest_seconds


def measured_waiting(reports: Iterable[Report]) -> Waiting | None:
    """The mean over learners that measured it; None where none did."""
    measured = [waiting for report in reports if (waiting := _waiting(report.status)) is not None]
    if not measured:
        return None
    return Waiting(
        learner=sum(each.learner for each in measured) / len(measured),
        simulator=sum(each.simulator for each in measured) / len(measured),
    )


def _waiting(status: Mapping[str, Any]) -> Waiting | None:
    waiting = status.get("waiting")
    if status.get("phase") != "Running" or not isinstance(waiting, Mapping):
        return None
    learner, simulator = waiting.get("learnerFraction"), waiting.get("simulatorFraction")
    if not isinstance(learner, (int, float)) or not isinstance(simulator, (int, float)):
        return None
    return Waiting(learner=float(learner), simulator=float(simulator))
