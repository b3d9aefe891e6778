"""What keeps pods from working, in one sentence: `2 simulators cannot be scheduled: 0/5 nodes have 4 free cpu`."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from stepstream_operator.children.names import LEARNER, SIMULATOR
from stepstream_operator.status.observed import Observed, Pod, Termination
from stepstream_operator.status.words import clipped, counted, last_line

CRASH_LOOP: Final = "CrashLoopBackOff"
_IMAGE: Final = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CANNOT_START: Final = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_CAUSE_LENGTH: Final = 300


def troubles(observed: Observed) -> str:
    """Every trouble of the job, the gravest first; nothing where there is none."""
    return "; ".join(_all_troubles(observed))


def role_troubles(observed: Observed, role: str) -> str:
    return "; ".join(_pods_troubles(observed.of_role(role), role))


def _all_troubles(observed: Observed) -> Iterator[str]:
    yield from observed.problems
    yield from _pods_troubles(observed.of_role(LEARNER), LEARNER)
    if observed.simulator_set and observed.simulator_set.failure:
        yield f"simulators cannot be created: {clipped(observed.simulator_set.failure, _CAUSE_LENGTH)}"
    yield from _pods_troubles(observed.of_role(SIMULATOR), SIMULATOR)


def _pods_troubles(pods: tuple[Pod, ...], role: str) -> Iterator[str]:
    """Pods with the same trouble are counted; the cause told is the commonest."""
    causes: dict[str, Counter[str]] = {}
    for pod in pods:
        trouble, cause = _trouble(pod)
        if trouble:
            causes.setdefault(trouble, Counter())[cause] += 1
    for trouble, counter in causes.items():
        cause = clipped(counter.most_common(1)[0][0], _CAUSE_LENGTH)
        yield f"{counted(counter.total(), role)} {trouble}" + (f": {cause}" if cause else "")


def _trouble(pod: Pod) -> tuple[str, str]:
    """What is wrong, and why; nothing where the pod is fine or on its way out."""
    if pod.deleting:
        return "", ""
    if pod.unschedulable:
        return "cannot be scheduled", pod.unschedulable
    if pod.waiting in _IMAGE:
        return "cannot pull the image", pod.waiting_message or pod.waiting
    if pod.waiting in _CANNOT_START:
        return "cannot start", pod.waiting_message or pod.waiting
    if pod.waiting == CRASH_LOOP:
        return "in a crash loop", how_it_ended(pod.termination)
    return "", ""


def how_it_ended(termination: Termination | None) -> str:
    """`exit code 1: the last line of its log`."""
    if termination is None:
        return ""
    ending = f"exit code {termination.exit_code}"
    if termination.reason not in ("", "Error", "Completed"):
        ending += f" ({termination.reason})"
    said = last_line(termination.log)
    return f"{ending}: {said}" if said else ending
