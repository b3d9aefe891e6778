"""The words for how a job stands: phase, message, conditions."""

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import ConditionType, Phase
from stepstream_operator.children.names import LEARNER, QUEUE_LABELS, learners_name
from stepstream_operator.status.conditions import Finding
from stepstream_operator.status.lifecycle import LEARNERS_LOST, Life, Stage, has_been_ready
from stepstream_operator.status.observed import Observed
from stepstream_operator.status.troubles import role_troubles, troubles
from stepstream_operator.status.words import counted

CALIBRATING = "Calibrating"


def derive_phase(job: TrainingJob, observed: Observed, life: Life) -> Phase:
    """Display only."""
    if life.stage is not Stage.ACTIVE:
        return {Stage.SUCCEEDED: Phase.Succeeded, Stage.FAILED: Phase.Failed, Stage.SUSPENDED: Phase.Suspended}[
            life.stage
        ]
    if learners_ready(job, observed, life):
        calibrating = any(report.phase == CALIBRATING for report in observed.reports)
        return Phase.Calibrating if calibrating else Phase.Running
    if life.failure is not None and life.failure.attempt == life.attempt - 1:
        return Phase.Restarting
    learners = [pod for pod in observed.learners(life.attempt) if not pod.deleting]
    return Phase.Starting if any(pod.running for pod in learners) else Phase.Pending


def derive_message(job: TrainingJob, observed: Observed, life: Life) -> str:
    """The one sentence a person needs: why it ended, or what it waits for, or what is wrong, or that all is well."""
    if life.stage is Stage.FAILED:
        return life.failure.message if life.failure else "failed"
    if life.stage is Stage.SUCCEEDED:
        return _success(observed)
    if life.stage is Stage.SUSPENDED:
        return _suspension(observed)
    if is_queued(observed, life):
        return _hold(job)
    return troubles(observed) or _state(job, observed, life)


def derive_findings(job: TrainingJob, observed: Observed, life: Life) -> list[Finding]:
    """All conditions, in the order they matter to a reader."""
    return [
        Finding(type=ConditionType.Accepted, holds=True, reason="Valid"),
        _admitted(job, observed, life),
        _ready(job, observed, life),
        _degraded(observed, life),
        _suspended(observed, life),
        _complete(observed, life),
        _failed(life),
    ]


def learners_ready(job: TrainingJob, observed: Observed, life: Life) -> bool:
    return ready_learners(observed, life) >= job.spec.learners.replicas


def ready_learners(observed: Observed, life: Life) -> int:
    """Those on their way out answer for another two minutes; simulators and users had better not count on them."""
    return sum(pod.ready and not pod.deleting for pod in observed.learners(life.attempt))


def is_queued(observed: Observed, life: Life) -> bool:
    learner_job = observed.learner_job
    return learner_job is not None and learner_job.attempt == life.attempt and learner_job.held


def _hold(job: TrainingJob) -> str:
    """Who suspended the learners' Job, and so what lets it start."""
    queue = job.metadata.labels.get(QUEUE_LABELS[0])
    if queue:
        return f"waiting for quota in queue {queue}"
    return f"Job {learners_name(job.name)} was suspended by somebody; set its spec.suspend to false to go on"


def _success(observed: Observed) -> str:
    said = next((report.message for report in observed.reports if report.message), "")
    return said or "training is complete"


def _suspension(observed: Observed) -> str:
    left = len(observed.of_role(LEARNER))
    if observed.learner_job is None and left == 0:
        return "suspended; set spec.suspend to false to go on"
    return f"suspending: {counted(max(left, 1), 'learner')} to write a checkpoint and leave"


def _state(job: TrainingJob, observed: Observed, life: Life) -> str:
    wanted = job.spec.learners.replicas
    if learners_ready(job, observed, life):
        return next((report.message for report in observed.reports if report.message), "training")
    if observed.strays:
        return f"waiting for {counted(len(observed.strays), 'earlier learner')} to leave"
    failure = life.failure
    if failure is not None and failure.attempt == life.attempt - 1:
        return f"{failure.message}; restart {life.restarts} of {job.spec.backoff_limit} (spec.backoffLimit)"
    return f"waiting for {wanted - ready_learners(observed, life)} of {counted(wanted, 'learner')} to be ready"


def _admitted(job: TrainingJob, observed: Observed, life: Life) -> Finding:
    if life.stage is Stage.ACTIVE and is_queued(observed, life):
        return Finding(type=ConditionType.Admitted, holds=False, reason="Queued", message=_hold(job))
    return Finding(type=ConditionType.Admitted, holds=True, reason="Admitted")


def _ready(job: TrainingJob, observed: Observed, life: Life) -> Finding:
    if life.stage is Stage.ACTIVE and learners_ready(job, observed, life):
        return Finding(type=ConditionType.Ready, holds=True, reason="LearnersReady")
    if life.stage is not Stage.ACTIVE:
        return Finding(type=ConditionType.Ready, holds=False, reason=life.stage.name.capitalize())
    reason = LEARNERS_LOST if has_been_ready(observed.previous) else "LearnersStarting"
    return Finding(type=ConditionType.Ready, holds=False, reason=reason, message=role_troubles(observed, LEARNER))


def _degraded(observed: Observed, life: Life) -> Finding:
    found = troubles(observed) if life.stage is Stage.ACTIVE else ""
    reason = "PodsInTrouble" if found else "AsExpected"
    return Finding(type=ConditionType.Degraded, holds=bool(found), reason=reason, message=found)


def _suspended(observed: Observed, life: Life) -> Finding:
    """True from the moment it is asked for; the reason tells when all pods have left."""
    if life.stage is not Stage.SUSPENDED:
        return Finding(type=ConditionType.Suspended, holds=False, reason="NotSuspended")
    gone = observed.learner_job is None and not observed.pods
    reason = "Suspended" if gone else "Suspending"
    return Finding(type=ConditionType.Suspended, holds=True, reason=reason, message=_suspension(observed))


def _complete(observed: Observed, life: Life) -> Finding:
    if life.stage is Stage.SUCCEEDED:
        return Finding(type=ConditionType.Complete, holds=True, reason="Complete", message=_success(observed))
    return Finding(type=ConditionType.Complete, holds=False, reason="NotComplete")


def _failed(life: Life) -> Finding:
    if life.stage is Stage.FAILED and life.failure is not None:
        return Finding(type=ConditionType.Failed, holds=True, reason=life.failure.reason, message=life.failure.message)
    return Finding(type=ConditionType.Failed, holds=False, reason="NotFailed")
