"""One life of a job, from creation to its deletion after its time, told by what a user would see at each stage."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children.names import ATTEMPT_LABEL
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.errors import RequestFailed
from stepstream_operator.runtime.resources import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    SECRETS,
    TRAINING_JOBS,
    Object,
    Resource,
)
from stepstream_operator.status import previous_status
from tests.support.daemons import eventually
from tests.support.fault_proxy import FaultProxy
from tests.support.running_operator import Cluster, manifest

STAGE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    name: str
    phase: str
    attempt: int
    restarts: int
    learners: int
    simulators: int


Seen = Callable[[str, Object], None]
"""Told the type of a watch event, and the object."""


class Followed:
    """Every change there ever was to the objects of a kind, from a watch of its own."""

    def __init__(self, cluster: Cluster, resource: Resource, seen: Seen) -> None:
        self._cluster, self._resource, self._seen = cluster, resource, seen
        self._ended = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _follow(self) -> None:
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "300"}
        admin, namespace = self._cluster.admin, self._cluster.namespace
        while not self._ended.is_set():
            try:
                for event in admin.watch(self._resource, namespace, query, read_timeout_seconds=300):
                    query["resourceVersion"] = event["object"]["metadata"].get("resourceVersion", "0")
                    if event["type"] != "ERROR":
                        self._seen(event["type"], event["object"])
            except RequestFailed:
                query["resourceVersion"] = "0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How the job stood when it went. `conditions` are type, status and reason; `failure` leaves out times and names
    that differ from life to life.
    """

    phase: str
    conditions: frozenset[tuple[str, str, str]]
    failure: tuple[str, str, str, int | None, str]


class History:
    """What happens to the one job of a namespace, followed from before it is made until it is gone."""

    def __init__(self, cluster: Cluster) -> None:
        self._job: Object = {}
        self._gone = threading.Event()
        self._attempts: dict[str, set[str]] = defaultdict(set)
        self._followed = [
            Followed(cluster, TRAINING_JOBS, self._see_job),
            Followed(cluster, JOBS, self._see_learners),
        ]

    def ending(self) -> Ending:
        """Waits for it."""
        assert self._gone.wait(STAGE_SECONDS), f"the job has not gone: {self._job.get('status')}"
        for each in self._followed:
            each.stop()
        status = previous_status(self._job)
        failure = status.failure
        assert failure is not None, "its learner has failed once"
        return Ending(
            phase=status.phase.value,
            conditions=frozenset((each.type.value, each.status.value, each.reason) for each in status.conditions),
            failure=(failure.reason, failure.message, failure.role, failure.exit_code, failure.log),
        )

    def learner_jobs(self) -> dict[str, int]:
        """How many learners' Jobs there ever were, by attempt."""
        return {attempt: len(uids) for attempt, uids in sorted(self._attempts.items())}

    def _see_job(self, change: str, job: Object) -> None:
        self._job = job
        if change == "DELETED":
            self._gone.set()

    def _see_learners(self, _: str, learners: Object) -> None:
        metadata = learners["metadata"]
        self._attempts[metadata["labels"][ATTEMPT_LABEL]].add(metadata["uid"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What happened. `left` are the objects that remained after the job was gone; `told` counts its Events by reason,
    and is no part of what two equal stories have in common: an operator that is killed may leave some out.
    """

    stages: tuple[Stage, ...]
    ending: Ending
    jobs_by_attempt: dict[str, int]
    left: int
    told: Counter[str] = field(compare=False)


def live(cluster: Cluster) -> Story:
    """Create, run, scale, suspend, resume, fail once, finish, expire. AssertionError where a stage is not met."""
    history = History(cluster)
    stages: list[Stage] = []

    def reach(name: str, phase: str, attempt: int, restarts: int, learners: int, simulators: int) -> None:
        wanted = Stage(
            name=name, phase=phase, attempt=attempt, restarts=restarts, learners=learners, simulators=simulators
        )
        seen: list[Stage] = []

        def reached() -> bool:
            # Pods are counted only once the status is as wanted: many lives share one API server.
            status = cluster.status()
            said = (status.phase.value, status.attempt, status.restarts) == (phase, attempt, restarts)
            seen[:] = [_stage(cluster, name, status)] if said else []
            return seen == [wanted]

        try:
            eventually(reached, timeout_seconds=STAGE_SECONDS, what=f"{wanted}", interval_seconds=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; last seen {seen}; status {cluster.job()}") from error
        stages.append(wanted)

    cluster.submit(manifest(ttlSecondsAfterFinished=1, simulators={"replicas": 1}))
    reach("created", "Running", 1, 0, 1, 1)
    cluster.edit("pong", simulators={"replicas": 2})
    reach("scaled", "Running", 1, 0, 1, 2)
    cluster.edit("pong", suspend=True)
    reach("suspended", "Suspended", 1, 0, 0, 0)
    cluster.edit("pong", suspend=False)
    reach("resumed", "Running", 2, 0, 1, 2)
    cluster.end_learners(1, "ValueError: boom")
    reach("restarted", "Running", 3, 1, 1, 2)
    cluster.end_learners(0)
    ending = history.ending()
    eventually(lambda: _left(cluster) == 0, timeout_seconds=STAGE_SECONDS, what="its children are collected")
    return Story(
        stages=tuple(stages),
        ending=ending,
        jobs_by_attempt=history.learner_jobs(),
        left=_left(cluster),
        told=cluster.told(),
    )


def _stage(cluster: Cluster, name: str, status: JobStatus) -> Stage:
    return Stage(
        name=name,
        phase=status.phase.value,
        attempt=status.attempt,
        restarts=status.restarts,
        learners=len(cluster.pods("learner")),
        simulators=len(cluster.pods("simulator")),
    )


def _left(cluster: Cluster) -> int:
    return sum(len(cluster.all(kind)) for kind in (TRAINING_JOBS, JOBS, DEPLOYMENTS, PODS, SECRETS))


class Successor:
    """Starts another operator whenever the one at work has been cut off, as a Deployment would."""

    def __init__(self, first: FaultProxy, begin: Callable[[FaultProxy | None], tuple[Operator, FaultProxy]]) -> None:
        self._begin = begin
        self._ended = threading.Event()
        self._current = begin(first)
        self.crashes = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        operator, proxy = self._current
        proxy.cut()
        operator.stop()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            operator, proxy = self._current
            if proxy.was_cut.is_set():
                self.crashes += 1
                self._current = self._begin(None)
                operator.stop()
