"""What was seen of a job: raw objects of the API server, parsed once.

`Observed` is made by the controller from its caches (`observed_pod` and its siblings), or by the local runner from its
processes. Nothing after this file looks into a raw object.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children.names import ATTEMPT_LABEL, LEARNER, ROLE_LABEL, SIMULATOR_IMAGE
from stepstream_operator.status.report import LearnerReport
from stepstream_trainer.config.contract import EXIT_DONE

_EARLIER_FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"


@dataclass(frozen=True, kw_only=True, slots=True)
class Termination:
    """How a container ended. `log` is its last lines, at most 2 KiB."""

    exit_code: int
    reason: str = ""
    log: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """A pod of the job. `waiting` is why its container does not run, such as ImagePullBackOff.

    `controller` is the UID of the Job or ReplicaSet that looks after it, if any. `ended` says that nothing runs in it
    any more, and never will.
    """

    name: str
    role: str
    uid: str = ""
    controller: str = ""
    attempt: int = 0
    ended: bool = False
    ready: bool = False
    running: bool = False
    deleting: bool = False
    disrupted: bool = False
    unschedulable: str = ""
    waiting: str = ""
    waiting_message: str = ""
    termination: Termination | None = None
    """The end of the container's latest life, also while the next one waits or runs."""
    earlier_failures: int = 0
    """Of pods of the same index, where the Job retries each index apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerJob:
    """The learners' Job. `held` says that a queue holds it back (its own `suspend`), `ended_at` since when it has
    succeeded or failed, where a clock that others share says so, `simulator_image` which simulators fit its learners.
    """

    attempt: int
    uid: str = ""
    held: bool = False
    deleting: bool = False
    succeeded: bool = False
    simulator_image: str = ""
    failed: bool = False
    ended_at: datetime | None = None
    failure_reason: str = ""
    failure_message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorSet:
    """The simulators' Deployment. `failure` is why pods could not be made, such as a quota."""

    desired: int
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """Everything that a status is derived from, beside the job and the time.

    `previous` is the status as last written. `strays` are learners that may still run though no Job of this job looks
    after them: a deleted Job's, which write their checkpoint, or an earlier job's of the same name. `reports` are fresh
    answers of learners' /status, rank 0 first. `problems` are sentences about what could not be done for the job: a
    quota, a refusal of the API server.
    """

    previous: JobStatus = field(default_factory=JobStatus)
    learner_job: LearnerJob | None = None
    simulator_set: SimulatorSet | None = None
    pods: tuple[Pod, ...] = ()
    strays: tuple[Pod, ...] = ()
    reports: tuple[LearnerReport, ...] = ()
    problems: tuple[str, ...] = ()

    def of_role(self, role: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.role == role)

    def learners(self, attempt: int) -> tuple[Pod, ...]:
        """Pods of one attempt's learners."""
        return tuple(pod for pod in self.of_role(LEARNER) if pod.attempt == attempt)

    def missing_learners(self, wanted: int) -> int:
        """Of `wanted`, those that the learners' Job should have made pods for and has not; none where it should not."""
        job = self.learner_job
        if job is None or job.held or job.deleting or job.failed or job.succeeded:
            return 0
        made = [pod for pod in self.learners(job.attempt) if not _has_failed(pod)]
        return max(0, wanted - len(made))


def observed_pod(raw: Mapping[str, Any]) -> Pod:
    """A pod as the API server gives it; its first container is the job's own."""
    metadata, status = raw["metadata"], raw.get("status", {})
    labels = metadata.get("labels", {})
    container = _own_container(raw)
    state = container.get("state", {})
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        controller=_controller(metadata),
        role=labels.get(ROLE_LABEL, ""),
        attempt=_count(labels, ATTEMPT_LABEL),
        ended=status.get("phase") in ("Succeeded", "Failed"),
        ready=_condition(status, "Ready").get("status") == "True",
        running="running" in state,
        deleting="deletionTimestamp" in metadata,
        disrupted=_condition(status, "DisruptionTarget").get("status") == "True",
        unschedulable=_unschedulable(status),
        waiting=state.get("waiting", {}).get("reason", ""),
        waiting_message=state.get("waiting", {}).get("message", ""),
        termination=_termination(ended) if ended else None,
        earlier_failures=_count(metadata.get("annotations") or {}, _EARLIER_FAILURES),
    )


def observed_learner_job(raw: Mapping[str, Any]) -> LearnerJob:
    metadata, status = raw["metadata"], raw.get("status", {})
    complete, failed = (_condition(status, kind) for kind in ("Complete", "Failed"))
    is_complete, has_failed = complete.get("status") == "True", failed.get("status") == "True"
    ended = complete if is_complete else failed if has_failed else {}
    return LearnerJob(
        attempt=_count(metadata.get("labels", {}), ATTEMPT_LABEL),
        uid=metadata.get("uid", ""),
        held=bool(raw.get("spec", {}).get("suspend")),
        deleting="deletionTimestamp" in metadata,
        succeeded=is_complete,
        simulator_image=(metadata.get("annotations") or {}).get(SIMULATOR_IMAGE, ""),
        failed=has_failed,
        ended_at=_optional_time(ended.get("lastTransitionTime")),
        failure_reason=failed.get("reason", ""),
        failure_message=failed.get("message", ""),
    )


def observed_simulator_set(raw: Mapping[str, Any]) -> SimulatorSet:
    failure = _condition(raw.get("status", {}), "ReplicaFailure")
    return SimulatorSet(
        desired=raw.get("spec", {}).get("replicas", 1),
        failure=failure.get("message", "") if failure.get("status") == "True" else "",
    )


def _has_failed(pod: Pod) -> bool:
    return pod.ended and (pod.termination is None or pod.termination.exit_code != EXIT_DONE)


def parse_time(text: str) -> datetime:
    """RFC 3339, as the API server writes it."""
    return datetime.fromisoformat(text)


def _own_container(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses = raw.get("status", {}).get("containerStatuses", [])
    containers = raw.get("spec", {}).get("containers", [])
    own = containers[0]["name"] if containers else ""
    return next((status for status in statuses if status["name"] == own), {})


def _controller(metadata: Mapping[str, Any]) -> str:
    owners: Iterable[Mapping[str, Any]] = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _count(texts: Mapping[str, str], name: str) -> int:
    text = texts.get(name, "")
    return int(text) if text.isdecimal() else 0


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions: Iterable[Mapping[str, Any]] = status.get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _unschedulable(status: Mapping[str, Any]) -> str:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") != "False":
        return ""
    return str(scheduled.get("message") or scheduled.get("reason") or "no node found yet")


def _termination(ended: Mapping[str, Any]) -> Termination:
    return Termination(
        exit_code=ended.get("exitCode", -1),
        reason=ended.get("reason", ""),
        log=ended.get("message", ""),
        started_at=_optional_time(ended.get("startedAt")),
        finished_at=_optional_time(ended.get("finishedAt")),
    )


def _optional_time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
