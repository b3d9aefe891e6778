"""Puts together what is known of a job: from the stores, from learners' answers. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterable

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children import LEARNER
from stepstream_operator.children.names import (
    ATTEMPT_LABEL,
    COMPLETION_INDEX,
    ROLE_LABEL,
    learners_name,
    simulators_name,
)
from stepstream_operator.controller.job_log import JobLog
from stepstream_operator.controller.progress import Report, StatusSource, Target
from stepstream_operator.controller.watched import Stores
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS, PODS, Object
from stepstream_operator.runtime.store import Key
from stepstream_operator.status import (
    LearnerReport,
    Observed,
    learner_report,
    observed_learner_job,
    observed_pod,
    observed_simulator_set,
)

log = JobLog("operator.observe")


def observe(stores: Stores, job: Key, previous: JobStatus, reports: Iterable[Report]) -> Observed:
    namespace, name = job
    learner_job = stores[JOBS].get((namespace, learners_name(name)))
    deployment = stores[DEPLOYMENTS].get((namespace, simulators_name(name)))
    return Observed(
        previous=previous,
        learner_job=observed_learner_job(learner_job) if learner_job else None,
        simulator_set=observed_simulator_set(deployment) if deployment else None,
        pods=tuple(observed_pod(pod) for pod in stores[PODS].owned_by(job)),
        reports=_parsed(job, reports),
    )


def targets(stores: Stores, job: Key, attempt: int, source: StatusSource) -> tuple[Target, ...]:
    """The learners of the attempt that run, by rank, and where they answer."""
    found = []
    for pod in stores[PODS].owned_by(job):
        labels = pod["metadata"]["labels"]
        address = source(pod) if _is_running_learner(pod, attempt) else None
        if address is not None:
            rank = int(labels.get(COMPLETION_INDEX, 0))
            found.append(Target(job=job, attempt=attempt, rank=rank, address=address))
    return tuple(sorted(found, key=lambda target: target.rank))


def _is_running_learner(pod: Object, attempt: int) -> bool:
    labels = pod["metadata"]["labels"]
    ours = labels.get(ROLE_LABEL) == LEARNER and labels.get(ATTEMPT_LABEL) == str(attempt)
    leaving = "deletionTimestamp" in pod["metadata"]
    return bool(ours and not leaving and pod["status"].get("phase") == "Running")


def _parsed(job: Key, reports: Iterable[Report]) -> tuple[LearnerReport, ...]:
    parsed = []
    for report in reports:
        try:
            parsed.append(learner_report(report.status))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("status_unreadable", rank=report.rank, error=repr(error))
    return tuple(sorted(parsed, key=lambda report: report.rank))
