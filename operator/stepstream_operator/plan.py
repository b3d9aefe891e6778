"""What to do so that a job's children become what they should be. Pure; the controller carries it out in order.

Names are deterministic, so a child is found by kind and name; that it is this job's is told by its owner's UID, and
while one is not, nothing more is started. A child that is being deleted is waited for. Learners of another attempt are
deleted with their pods before the new ones are made, so never two sets of learners are alive.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from stepstream_operator.api import CleanupPolicy, TrainingJob
from stepstream_operator.children.manifest import Manifest, clash, is_owned
from stepstream_operator.children.names import ATTEMPT_LABEL, QUEUE_LABELS, SIMULATOR, SIMULATOR_IMAGE
from stepstream_operator.children.stamp import STAMP, stamped
from stepstream_operator.drift import covers
from stepstream_operator.status.observed import Pod, observed_learner_job
from stepstream_operator.status.troubles import CRASH_LOOP

Key = tuple[str, str]
"""Kind and name."""

_UNPRUNED: Final = ("Secret", "PersistentVolumeClaim")
"""Never deleted for not being desired: they serve again after a resume, and a claim may hold the only checkpoints."""

STARTS_PODS: Final = ("Job", "Deployment")

_KILLED: Final = (137, 143)
_MIN_LIFE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """One object to delete, if it still has this UID. `Foreground` keeps its name taken until its pods are gone."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    propagation: str = "Background"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """What may start: learners not before their back-off is over and earlier ones are gone, simulators not before
    learners accept streams. While a queue holds the learners, no simulators are kept either: they cost quota too.
    """

    learners: bool = True
    simulators: bool = True
    held: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Deletions first, then `patches`, so that what starts finds files as they should be, then `creates`.

    `problems` are sentences for the job's status: what stands in the way.
    """

    creates: tuple[Manifest, ...] = ()
    patches: tuple[Manifest, ...] = ()
    deletes: tuple[Deletion, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.creates or self.patches or self.deletes)


def plan(job: TrainingJob, desired: Sequence[Manifest], observed: Iterable[Mapping[str, Any]], gates: Gates) -> Plan:
    """The way from `observed` (raw children of the job) to `desired`."""
    existing = {_key(child): child for child in observed}
    foreign = _foreign(job, desired, existing)
    if foreign:  # what starts would mount another's files, or take another's place
        gates = replace(gates, learners=False, simulators=False)
    creates, patches, deletes = [], [], []
    for child in desired:
        found = existing.pop(_key(child), None)
        if found is None:
            creates += [child] if _may_start(child, 0, gates) else []
        elif not is_owned(found, job) or _is_going(found):
            continue
        elif _is_of_another_attempt(found, child):
            deletes.append(deletion(found))
        elif (patch := _patch(child, found, gates)) is not None:
            patches.append(patch)
    deletes += [deletion(child) for child in existing.values() if _is_superfluous(child, job)]
    problems = tuple(clash(found) for found in foreign)
    return Plan(creates=tuple(creates), patches=tuple(patches), deletes=tuple(deletes), problems=problems)


def plan_finished(job: TrainingJob, observed: Iterable[Mapping[str, Any]]) -> Plan:
    """What to remove of a finished job. Learners that still run (a deadline ended the job) are stopped in any case."""
    ours = [child for child in observed if is_owned(child, job) and not _is_going(child)]
    return Plan(deletes=tuple(deletion(child) for child in ours if _ends_with_job(child, job.spec.cleanup_policy)))


def simulators_to_replace(pods: Iterable[Pod], namespace: str) -> tuple[Deletion, ...]:
    """Simulators that the kubelet holds back though they did work before they died: a new pod starts at once.

    One that dies as soon as it starts is left to the kubelet's back-off (docs/adr/0003-simulators-are-a-deployment.md).
    """
    return tuple(
        Deletion(api_version="v1", kind="Pod", namespace=namespace, name=pod.name, uid=pod.uid)
        for pod in pods
        if pod.role == SIMULATOR and pod.waiting == CRASH_LOOP and not pod.deleting and _did_work(pod)
    )


def orphans_to_remove(strays: Iterable[Pod], namespace: str) -> tuple[Deletion, ...]:
    """Learners that nothing will ever end: their Job was deleted without them (`--cascade=orphan`)."""
    return tuple(
        Deletion(api_version="v1", kind="Pod", namespace=namespace, name=pod.name, uid=pod.uid)
        for pod in strays
        if not pod.controller and not pod.deleting
    )


def deletion(child: Mapping[str, Any]) -> Deletion:
    metadata = child["metadata"]
    return Deletion(
        api_version=child["apiVersion"],
        kind=child["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        propagation="Foreground" if child["kind"] == "Job" else "Background",
    )


def _key(child: Mapping[str, Any]) -> Key:
    return child["kind"], child["metadata"]["name"]


def _foreign(
    job: TrainingJob, desired: Iterable[Manifest], existing: Mapping[Key, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    found = (existing.get(_key(child)) for child in desired)
    return [child for child in found if child is not None and not is_owned(child, job)]


def _is_going(child: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in child["metadata"]


def _is_superfluous(child: Mapping[str, Any], job: TrainingJob) -> bool:
    return child["kind"] not in _UNPRUNED and is_owned(child, job) and not _is_going(child)


def _is_of_another_attempt(found: Mapping[str, Any], child: Manifest) -> bool:
    labels = found["metadata"].get("labels", {})
    return child["kind"] == "Job" and bool(labels.get(ATTEMPT_LABEL) != child["metadata"]["labels"][ATTEMPT_LABEL])


def _may_start(child: Manifest, running: int, gates: Gates) -> bool:
    """Whether nothing holds back what this child would start; `running` is the number that it has started already."""
    if child["kind"] == "Job":
        return gates.learners
    if child["kind"] == "Deployment":
        return gates.simulators or running > 0 or bool(child["spec"]["replicas"] == 0)
    return True


def _patch(child: Manifest, found: Mapping[str, Any], gates: Gates) -> Manifest | None:
    wanted = _as_far_as_mutable(child, found)
    if child["kind"] == "Deployment" and gates.held:
        wanted["spec"]["replicas"] = 0
    elif child["kind"] == "Deployment" and not _may_start(child, found["spec"].get("replicas", 1), gates):
        wanted["spec"]["replicas"] = found["spec"].get("replicas", 1)
    return None if covers(found, wanted) else wanted


def _as_far_as_mutable(child: Manifest, found: Mapping[str, Any]) -> Manifest:
    """A claim never changes, nor does a Job's template in its life, nor the queue of what runs."""
    wanted = copy.deepcopy(child)
    if child["kind"] == "PersistentVolumeClaim":
        wanted["spec"] = copy.deepcopy(found["spec"])
    if child["kind"] == "Job":
        wanted["spec"]["template"] = copy.deepcopy(found["spec"]["template"])
        wanted["metadata"]["annotations"] |= _picked(found["metadata"].get("annotations"), (SIMULATOR_IMAGE,))
        _leave_suspend_to_the_queue(wanted, found)
    if child["kind"] in STARTS_PODS and _runs(found):
        _keep_queue(wanted, found)
    return stamped(wanted) if STAMP in wanted["metadata"].get("annotations", {}) else wanted


def _runs(found: Mapping[str, Any]) -> bool:
    spec = found["spec"]
    return not spec.get("suspend") if found["kind"] == "Job" else bool(spec.get("replicas", 1) > 0)


def _leave_suspend_to_the_queue(wanted: Manifest, found: Mapping[str, Any]) -> None:
    """A queue turns it. Where we take the Job out of its queue, nobody else would let it start."""
    if "suspend" in wanted["spec"]:
        wanted["spec"]["suspend"] = found["spec"].get("suspend", False)
    elif _queue(found) and _stamp(found) != _stamp(wanted):
        wanted["spec"]["suspend"] = False


def _keep_queue(wanted: Manifest, found: Mapping[str, Any]) -> None:
    """Queues admit what is to start; what runs cannot be given to another, or be taken out."""
    labels = wanted["metadata"]["labels"]
    for name in QUEUE_LABELS:
        labels.pop(name, None)
    labels |= _queue(found)


def _queue(child: Mapping[str, Any]) -> dict[str, str]:
    return _picked(child["metadata"].get("labels"), QUEUE_LABELS)


def _picked(mapping: Mapping[str, str] | None, names: Iterable[str]) -> dict[str, str]:
    return {name: mapping[name] for name in names if name in mapping} if mapping else {}


def _stamp(child: Mapping[str, Any]) -> str:
    return str((child["metadata"].get("annotations") or {}).get(STAMP, ""))


def _ends_with_job(child: Mapping[str, Any], policy: CleanupPolicy) -> bool:
    if child["kind"] == "Deployment":
        return policy is not CleanupPolicy.None_
    if child["kind"] == "Job":
        learners = observed_learner_job(child)
        return policy is CleanupPolicy.All or not (learners.succeeded or learners.failed)
    return False


def _did_work(pod: Pod) -> bool:
    """Killed from outside, or alive for a while. Out of memory is neither: it would happen again at once."""
    end = pod.termination
    if end is None:
        return False
    if end.exit_code in _KILLED and end.reason != "OOMKilled":
        return True
    if end.started_at is None or end.finished_at is None:
        return False
    return (end.finished_at - end.started_at).total_seconds() >= _MIN_LIFE_SECONDS
