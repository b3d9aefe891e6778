"""Puts together what is known of a job: from the stores, from learners' answers. Asks nobody.

Only what is this very job's is seen: another may have had its name and children before, and be gone only halfway.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children import LEARNER
from stepstream_operator.children.manifest import is_owned
from stepstream_operator.children.names import (
    ATTEMPT_LABEL,
    COMPLETION_INDEX,
    JOB_UID_LABEL,
    ROLE_LABEL,
    learners_name,
    simulators_name,
)
from stepstream_operator.controller.job_log import JobLog
from stepstream_operator.controller.progress import Report, StatusSource, Target
from stepstream_operator.controller.watched import Stores
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS, PODS, Object, Resource
from stepstream_operator.status import (
    LearnerReport,
    Observed,
    Pod,
    learner_report,
    observed_learner_job,
    observed_pod,
    observed_simulator_set,
)
from stepstream_trainer.config.contract import EXIT_DONE

log = JobLog("operator.observe")


def observe(stores: Stores, job: TrainingJob, previous: JobStatus, reports: Iterable[Report]) -> Observed:
    learner_job = _child(stores, JOBS, learners_name(job.name), job)
    deployment = _child(stores, DEPLOYMENTS, simulators_name(job.name), job)
    pods = tuple(observed_pod(pod) for pod in _pods(stores, job))
    return Observed(
        previous=previous,
        learner_job=observed_learner_job(learner_job) if learner_job else None,
        simulator_set=observed_simulator_set(deployment) if deployment else None,
        pods=pods,
        strays=stray_learners(stores, job),
        reports=_parsed(reports, pods),
    )


def stray_learners(stores: Stores, job: TrainingJob) -> tuple[Pod, ...]:
    """Under the job's name, whichever job they are of: all write where this job's learners will."""
    current = (_child(stores, JOBS, learners_name(job.name), job) or {"metadata": {"uid": None}})["metadata"]["uid"]
    pods = stores[PODS].owned_by((job.namespace, job.name))
    learners = (observed_pod(pod) for pod in pods if pod["metadata"]["labels"].get(ROLE_LABEL) == LEARNER)
    return tuple(pod for pod in learners if not pod.ended and pod.controller != current)


def targets(stores: Stores, job: TrainingJob, attempt: int, source: StatusSource) -> tuple[Target, ...]:
    """The learners of the attempt that run, by rank, and where they answer."""
    found = []
    for pod in _pods(stores, job):
        rank = pod["metadata"]["labels"].get(COMPLETION_INDEX, "0")
        address = source(pod) if rank.isdecimal() and _is_running_learner(pod, attempt) else None
        if address is not None:
            found.append(Target(job=(job.namespace, job.name), attempt=attempt, rank=int(rank), address=address))
    return tuple(sorted(found, key=lambda target: target.rank))


def _child(stores: Stores, resource: Resource, name: str, job: TrainingJob) -> Object | None:
    found = stores[resource].get((job.namespace, name))
    return found if found is not None and is_owned(found, job) else None


def _pods(stores: Stores, job: TrainingJob) -> list[Object]:
    pods = stores[PODS].owned_by((job.namespace, job.name))
    return [pod for pod in pods if pod["metadata"]["labels"].get(JOB_UID_LABEL) == job.metadata.uid]


def _is_running_learner(pod: Object, attempt: int) -> bool:
    labels = pod["metadata"]["labels"]
    ours = labels.get(ROLE_LABEL) == LEARNER and labels.get(ATTEMPT_LABEL) == str(attempt)
    leaving = "deletionTimestamp" in pod["metadata"]
    return bool(ours and not leaving and pod["status"].get("phase") == "Running")


def _parsed(reports: Iterable[Report], pods: Iterable[Pod]) -> tuple[LearnerReport, ...]:
    """By rank; a learner's last word takes the place of what it said before."""
    parsed: dict[tuple[int, int], LearnerReport] = {}
    for answer in (*(report.status for report in reports), *_last_words(pods)):
        try:
            report = learner_report(answer)
        except (KeyError, TypeError, ValueError) as error:
            log.warning("status_unreadable", error=repr(error))
        else:
            parsed[report.attempt, report.rank] = report
    return tuple(parsed[key] for key in sorted(parsed))


def _last_words(pods: Iterable[Pod]) -> Iterator[Mapping[str, Any]]:
    """The last /status of learners that ended well, from their termination messages."""
    for pod in pods:
        if pod.role == LEARNER and pod.termination is not None and pod.termination.exit_code == EXIT_DONE:
            with suppress(ValueError, RecursionError):  # a learner of an image that writes none, or none of ours
                yield json.loads(pod.termination.log)
