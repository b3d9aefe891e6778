"""`reconcile(key)`: the one way in which anything is done for a job, whatever happened to it.

    parse ──> observe ──> derive status ──(a decision? write it, under a precondition)──> plan ──> carry out
                                   └──────────────────> derive status again ──> write what changed ──> events

Decisions (attempt, restarts, an end) are written before they are acted on, and nothing that starts or ends learners is
done without the server's word that the job was read in its newest version: stale reads fail there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime

from stepstream_operator.api import TrainingJob, parse_job
from stepstream_operator.api.status_types import ConditionType, JobStatus
from stepstream_operator.children import cluster_placement, desired_children
from stepstream_operator.children.manifest import Manifest
from stepstream_operator.children.names import learners_name, tls_secret_name
from stepstream_operator.controller.apply import Applier, Refused
from stepstream_operator.controller.creation_failures import CreationFailures
from stepstream_operator.controller.events import EventRecorder, Happening
from stepstream_operator.controller.job_log import JobLog, about
from stepstream_operator.controller.next_look import seconds_until_next_look
from stepstream_operator.controller.observe import observe, stray_learners, targets
from stepstream_operator.controller.phase_counts import PhaseCounts
from stepstream_operator.controller.progress import ProgressPoller, StatusSource
from stepstream_operator.controller.scaling import SimulatorScaler
from stepstream_operator.controller.secret import desired_secret
from stepstream_operator.controller.status_writer import StatusWriter, life_differs
from stepstream_operator.controller.transitions import happenings
from stepstream_operator.controller.watched import Stores
from stepstream_operator.metrics import OperatorMetrics
from stepstream_operator.plan import (
    STARTS_PODS,
    Gates,
    Plan,
    orphans_to_remove,
    plan,
    plan_finished,
    simulators_to_replace,
)
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import JOBS, SECRETS, TRAINING_JOBS, Object
from stepstream_operator.runtime.store import Key
from stepstream_operator.settings import OperatorSettings
from stepstream_operator.status import (
    Observed,
    derive_status,
    expiry,
    learners_due,
    previous_status,
    refused_status,
)
from stepstream_trainer.config import ConfigurationErrors

log = JobLog("operator.reconcile")


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A job as one reconcile sees it. `confirmed`: the server has just said that `raw` is its newest version."""

    job: TrainingJob
    raw: Object
    observed: Observed
    gates: Gates
    confirmed: bool
    now: datetime


class Reconciler:
    """Thread-safe for different jobs; the queue gives a job to one worker at a time."""

    def __init__(
        self,
        *,
        client: Client,
        stores: Stores,
        poller: ProgressPoller,
        events: EventRecorder,
        metrics: OperatorMetrics,
        settings: OperatorSettings,
        status_source: StatusSource,
    ) -> None:
        self._client, self._stores, self._poller, self._events = client, stores, poller, events
        self._settings, self._status_source = settings, status_source
        self._applier = Applier(client, stores)
        self._writer = StatusWriter(client, stores)
        self._scaler = SimulatorScaler(
            client, rest_seconds=settings.scaling_rest_seconds, poll_seconds=settings.poll_seconds
        )
        self._creation_failures = CreationFailures(client)
        self._uids: dict[Key, str] = {}
        self._phases = PhaseCounts(metrics.jobs)
        self._since: dict[Key, float] = {}

    def longest_seconds(self) -> float:
        """How long the oldest reconcile that is under way has taken."""
        now = time.monotonic()
        return max((now - since for since in list(self._since.values())), default=0.0)

    def reconcile(self, key: Key) -> float | None:
        """Brings one job nearer to what it should be; returns after how many seconds to look again, if ever.

        Raises RequestFailed, after which the same call is to be made again later.
        """
        self._since[key] = time.monotonic()
        try:
            return self._reconcile(key)
        finally:
            self._since.pop(key, None)

    def _reconcile(self, key: Key) -> float | None:
        raw = self._stores[TRAINING_JOBS].get(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            # Everything else goes with it by garbage collection.
            self._forget(key)
            return None
        try:
            job = parse_job(raw)
        except ConfigurationErrors as errors:
            self._refuse(raw, errors)
            return None
        if not job.spec.is_ours:
            self._forget(key)
            return None
        return self._bring_about(key, job, raw)

    def _bring_about(self, key: Key, job: TrainingJob, raw: Object) -> float | None:
        self._meet(key, job)
        now = self._client.clock.now()
        before = previous_status(raw)
        observed = self._observe(key, job, before)
        decided = derive_status(job, observed, now)
        confirmed = life_differs(raw.get("status") or {}, decided)
        if confirmed:
            raw = self._write(key, raw, decided)
            observed = replace(observed, previous=previous_status(raw))
        look = Look(
            job=job, raw=raw, observed=observed, gates=_gates(observed, decided, now), confirmed=confirmed, now=now
        )
        with about(key, observed.previous.attempt):  # which the decision may have raised
            return self._carry_on(key, look)

    def _observe(self, key: Key, job: TrainingJob, before: JobStatus) -> Observed:
        """Where learners are left whose Job is not seen and whom nobody ends, it may only have lost its label."""
        observed = observe(self._stores, job, before, self._poller.latest(key))
        if any(stray.controller and not stray.deleting for stray in observed.strays):
            self._applier.uncover(job, JOBS, learners_name(job.name))
            observed = observe(self._stores, job, before, self._poller.latest(key))
        return observed

    def _carry_on(self, key: Key, look: Look) -> float | None:
        job, problems = look.job, self._act(key, look)
        raw = self._stores[TRAINING_JOBS].get(key) or look.raw
        observed = replace(
            observe(self._stores, job, previous_status(raw), self._poller.latest(key)), problems=problems
        )
        status = derive_status(job, observed, look.now)
        if not life_differs(raw.get("status") or {}, status):
            # Otherwise something ended while we acted: the next reconcile, already queued by it, writes that first.
            raw = self._write(key, raw, status)
        self._follow(key, job, previous_status(raw))
        return self._look_again(key, job, replace(observed, previous=previous_status(raw)), look.now)

    def _act(self, key: Key, look: Look) -> tuple[str, ...]:
        """Does what is to be done now; returns sentences about what could not be."""
        try:
            self._applier.delete(look.job, orphans_to_remove(look.observed.strays, look.job.namespace))
            if look.observed.previous.finished:
                self._tidy_up(key, look)
                return ()
            self._scale(key, look.job, look.raw)
            return self._shape(key, look)
        except Refused as refusal:
            log.warning("refused", problem=str(refusal))
            return (str(refusal),)

    def _shape(self, key: Key, look: Look) -> tuple[str, ...]:
        job, observed = look.job, look.observed
        attempt, learners = observed.previous.attempt, observed.learner_job
        placement = cluster_placement(
            job,
            tls=self._settings.tls,
            images=self._settings.images,
            simulator_image=learners.simulator_image if learners and learners.attempt == attempt else "",
        )
        # A job that is created suspended has no attempt yet, and desires no learners that would need one.
        desired = [*self._certificates(job, attempt, look.now), *desired_children(job, max(1, attempt), placement)]
        children = self._stores.children(key)
        # Looked for after the children were read, so that learners count whose Job went in the midst of this reconcile.
        clear = not stray_learners(self._stores, job)
        todo = plan(job, desired, children, replace(look.gates, learners=look.gates.learners and clear))
        if not look.confirmed and _touches_learners(todo):
            self._writer.confirm(look.raw)
        self._check_simulators(job, todo, desired)
        self._applier.carry_out(job, todo)
        self._applier.delete(job, simulators_to_replace(observed.pods, job.namespace))
        seen = observe(self._stores, job, observed.previous, ())
        said = self._creation_failures.sentence(key, seen, job.spec.learners.replicas)
        return (*todo.problems, *([said] if said else []))

    def _certificates(self, job: TrainingJob, attempt: int, now: datetime) -> list[Manifest]:
        """First of all children: pods mount them. A suspended job has no pods, and an attempt of its own ahead."""
        if not self._settings.tls or job.spec.suspend:
            return []
        found = self._stores[SECRETS].get((job.namespace, tls_secret_name(job.name)))
        return [desired_secret(job, attempt, found, now)]

    def _check_simulators(self, job: TrainingJob, todo: Plan, desired: list[Manifest]) -> None:
        """Before learners start: the server's word that simulators could follow."""
        if any(child["kind"] == "Job" for child in todo.creates):
            for child in desired:
                if child["kind"] == "Deployment":
                    self._applier.check(job, child)

    def _scale(self, key: Key, job: TrainingJob, raw: Object) -> None:
        scaling = self._scaler.scale(job, raw, self._poller.latest(key))
        if scaling is not None:
            note = f"simulators: {job.spec.simulators.replicas} -> {scaling.replicas}: {scaling.reason}"
            version = raw["metadata"]["resourceVersion"]
            self._events.tell(raw, Happening(reason="ScaledSimulators", note=note, occasion=version))

    def _tidy_up(self, key: Key, look: Look) -> None:
        job, raw = look.job, look.raw
        todo = plan_finished(job, self._stores.children(key))
        if not todo.is_empty:
            self._writer.confirm(raw)
            self._applier.carry_out(job, todo)
        end = expiry(job, previous_status(raw))
        if end is not None and look.now >= end:
            log.info("expired")
            metadata = raw["metadata"]
            preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            self._client.delete(TRAINING_JOBS, job.namespace, job.name, preconditions=preconditions)

    def _write(self, key: Key, raw: Object, status: Object) -> Object:
        before = previous_status(raw)
        written = self._writer.write(raw, status)
        after = previous_status(written)
        self._phases.put(key, after.phase.value)
        for happening in happenings(before, after):
            log.info("happened", attempt=after.attempt, what=happening.reason)
            self._events.tell(written, happening)
        return written

    def _refuse(self, raw: Object, errors: ConfigurationErrors) -> None:
        status = refused_status(previous_status(raw), errors, raw["metadata"]["generation"], self._client.clock.now())
        if self._writer.write(raw, status) is not raw:
            note = "; ".join(str(error) for error in errors.errors)
            self._events.tell(raw, Happening(reason="Invalid", note=note, warning=True))

    def _follow(self, key: Key, job: TrainingJob, status: JobStatus) -> None:
        running = not status.finished and not status.holds(ConditionType.Suspended)
        found = targets(self._stores, job, status.attempt, self._status_source) if running else ()
        self._poller.follow(key, found)

    def _look_again(self, key: Key, job: TrainingJob, observed: Observed, now: datetime) -> float | None:
        rest = self._scaler.rests_for(key)
        return seconds_until_next_look(job, observed, now, tls=self._settings.tls, scaling_rest=rest)

    def _meet(self, key: Key, job: TrainingJob) -> None:
        """Under a name there may be another job than last time, and nobody saw the first one go."""
        if self._uids.get(key, job.metadata.uid) != job.metadata.uid:
            self._forget(key)
        self._uids[key] = job.metadata.uid

    def _forget(self, key: Key) -> None:
        """Nothing of a job outlives it here, series of metrics included."""
        self._uids.pop(key, None)
        self._poller.follow(key, ())
        self._scaler.forget(key)
        self._creation_failures.forget(key)
        self._phases.forget(key)


def _gates(observed: Observed, decided: Object, now: datetime) -> Gates:
    """Learners start when their back-off is over, simulators when all learners are ready: they accept streams then."""
    due = learners_due(observed.previous)
    ready = any(each["type"] == ConditionType.Ready and each["status"] == "True" for each in decided["conditions"])
    held = observed.learner_job is not None and observed.learner_job.held
    return Gates(learners=due is None or now >= due, simulators=ready, held=held)


def _touches_learners(todo: Plan) -> bool:
    """Whether acting on stale reads could start a second set of learners or end the right one."""
    return bool(todo.deletes) or any(child["kind"] in STARTS_PODS for child in (*todo.creates, *todo.patches))
