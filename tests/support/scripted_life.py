"""One life of a job, from creation to its deletion after its time, told by what a user would see at each stage."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children.names import ATTEMPT_LABEL
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.errors import RequestFailed
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS, PODS, SECRETS, TRAINING_JOBS
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


@dataclass
class LearnerJobs:
    """Every learners' Job there ever was, by attempt; followed by a watch of its own."""

    cluster: Cluster
    uids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _follow(self) -> None:
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "300"}
        while not self._ended.is_set():
            try:
                for event in self.cluster.admin.watch(JOBS, self.cluster.namespace, query, read_timeout_seconds=300):
                    metadata = event["object"]["metadata"]
                    self.uids[metadata["labels"][ATTEMPT_LABEL]].add(metadata["uid"])
            except RequestFailed:
                continue


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What happened. `left` are the objects that remained after the job was gone."""

    stages: tuple[Stage, ...]
    jobs_by_attempt: dict[str, int]
    left: int


def live(cluster: Cluster) -> Story:
    """Create, run, scale, suspend, resume, fail once, finish, expire. AssertionError where a stage is not met."""
    jobs = LearnerJobs(cluster)
    jobs.start()
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
    eventually(lambda: cluster.job() is None, timeout_seconds=STAGE_SECONDS, what="the job is deleted after its time")
    eventually(lambda: _left(cluster) == 0, timeout_seconds=STAGE_SECONDS, what="its children are collected")
    jobs.stop()
    counts = {attempt: len(uids) for attempt, uids in sorted(jobs.uids.items())}
    return Story(stages=tuple(stages), jobs_by_attempt=counts, left=_left(cluster))


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
