"""How a job stands: pure functions from what was seen to what is said. `derive.py` is where to begin reading."""

from stepstream_operator.status.deadlines import expiry, learners_due, next_deadline
from stepstream_operator.status.derive import derive_job_status, derive_status, previous_status, refused_status
from stepstream_operator.status.lifecycle import learners_lost_at
from stepstream_operator.status.observed import (
    LearnerJob,
    Observed,
    Pod,
    SimulatorSet,
    Termination,
    observed_learner_job,
    observed_pod,
    observed_simulator_set,
)
from stepstream_operator.status.report import LearnerReport, learner_report

__all__ = [
    "LearnerJob",
    "LearnerReport",
    "Observed",
    "Pod",
    "SimulatorSet",
    "Termination",
    "derive_job_status",
    "derive_status",
    "expiry",
    "learner_report",
    "learners_due",
    "learners_lost_at",
    "next_deadline",
    "observed_learner_job",
    "observed_pod",
    "observed_simulator_set",
    "previous_status",
    "refused_status",
]
