"""How a job stands, told from what is seen of it."""

from dataclasses import replace
from typing import Any

import pytest

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import ConditionType, JobStatus, Phase
from stepstream_operator.children import SIMULATOR
from stepstream_operator.status import (
    Observed,
    Pod,
    SimulatorSet,
    Termination,
    derive_job_status,
    derive_status,
    previous_status,
    refused_status,
)
from stepstream_trainer.config import ConfigurationErrors, FieldError, Mode
from tests.support.jobs import (
    NOW,
    crashed_learner,
    later,
    learner_job,
    learner_pod,
    make_job,
    ready_learner,
    report,
    simulator_pod,
)


def status(job: TrainingJob | None = None, seconds: float = 0, **seen: Any) -> JobStatus:
    return derive_job_status(job or make_job(), Observed(**seen), later(seconds))


def running(job: TrainingJob | None = None, **seen: Any) -> JobStatus:
    """The status of a job whose learner became ready."""
    begun = status(job)
    return status(job, previous=begun, learner_job=learner_job(), pods=(ready_learner(),), **seen)


def reason(of: JobStatus, kind: ConditionType) -> str:
    condition = of.condition(kind)
    assert condition is not None
    return condition.reason


def test_a_new_job_begins_its_first_attempt() -> None:
    begun = status()
    assert (begun.attempt, begun.restarts, begun.start_time) == (1, 0, "2030-01-01T12:00:00Z")
    assert (begun.phase, begun.message) == (Phase.Pending, "waiting for 1 of 1 learner to be ready")


def test_every_condition_is_said_from_the_first_status_on() -> None:
    assert [condition.type for condition in status().conditions] == list(ConditionType)


@pytest.mark.parametrize(
    ("pods", "phase"),
    [
        ((), Phase.Pending),
        ((learner_pod(unschedulable="no node"),), Phase.Pending),
        ((learner_pod(running=True),), Phase.Starting),
        ((ready_learner(),), Phase.Running),
        ((ready_learner(attempt=9),), Phase.Pending),
    ],
)
def test_the_phase_follows_the_learners_of_this_attempt(pods: tuple[Pod, ...], phase: Phase) -> None:
    assert status(previous=status(), learner_job=learner_job(), pods=pods).phase is phase


def test_a_calibrating_learner_shows() -> None:
    assert running(reports=(report(phase="Calibrating"),)).phase is Phase.Calibrating


def test_a_ready_job_says_so() -> None:
    assert running().holds(ConditionType.Ready)
    assert running().message == "training"
    assert running().learners.summary == "1/1"


def test_a_learner_that_was_ready_and_is_not_is_lost_until_it_is_back() -> None:
    lost = status(previous=running(), learner_job=learner_job(), pods=(learner_pod(),))
    still_lost = status(previous=lost, learner_job=learner_job(), pods=())
    assert reason(lost, ConditionType.Ready) == reason(still_lost, ConditionType.Ready) == "LearnersLost"
    assert reason(status(previous=status()), ConditionType.Ready) == "LearnersStarting"


def test_a_transition_time_changes_with_the_status_only() -> None:
    first = running()
    second = status(seconds=60, previous=first, learner_job=learner_job(), pods=(ready_learner(),))
    assert second.condition(ConditionType.Ready) == first.condition(ConditionType.Ready)


def test_nothing_new_gives_the_same_status() -> None:
    first = running(reports=(report(),))
    seen = {"learner_job": learner_job(), "pods": (ready_learner(),), "reports": (report(),)}
    assert status(seconds=3600, previous=first, **seen) == first


# Failures and restarts ------------------------------------------------------------------------------------------------


def after_failure(job: TrainingJob | None = None, previous: JobStatus | None = None, **learner: Any) -> JobStatus:
    previous = previous or running(job)
    pod = crashed_learner(attempt=previous.attempt, **learner)
    failed = learner_job(attempt=previous.attempt, failed=True, failure_reason="BackoffLimitExceeded")
    return status(job, previous=previous, learner_job=failed, pods=(pod,))


def test_a_failure_begins_the_next_attempt_and_says_what_happened() -> None:
    restarting = after_failure()
    assert (restarting.attempt, restarting.restarts, restarting.phase) == (2, 1, Phase.Restarting)
    assert restarting.message == (
        "learner failed with exit code 1: ValueError: bad; restart 1 of 3 (spec.backoffLimit)"
    )
    assert restarting.failure is not None
    assert (restarting.failure.exit_code, restarting.failure.log) == (1, "ValueError: bad\n")


def test_a_failure_is_counted_once_however_often_it_is_seen() -> None:
    once = after_failure()
    again = status(previous=once, learner_job=learner_job(failed=True), pods=(crashed_learner(),))
    assert (again.attempt, again.restarts) == (2, 1)


def test_the_last_restart_allowed_is_the_last() -> None:
    job = make_job({"backoffLimit": 1})
    failed = after_failure(job, previous=after_failure(job))
    assert (failed.phase, failed.restarts) == (Phase.Failed, 1)
    assert reason(failed, ConditionType.Failed) == "BackoffLimitExceeded"
    assert failed.message.endswith("after 1 restart (spec.backoffLimit)")


def test_input_that_cannot_work_is_not_tried_again() -> None:
    failed = after_failure(exit_code=78, log="spec.environment.id: no such game\n")
    assert (failed.phase, failed.attempt) == (Phase.Failed, 1)
    assert reason(failed, ConditionType.Failed) == "InvalidInput"
    assert failed.message == "learner failed with exit code 78: spec.environment.id: no such game"


def test_the_first_learner_to_fail_is_the_cause() -> None:
    first, second = crashed_learner(log="out of memory"), crashed_learner(log="peer is gone", name="b")
    assert second.termination is not None
    second = replace(second, termination=replace(second.termination, finished_at=later(90)))
    seen = status(previous=running(), learner_job=learner_job(failed=True), pods=(second, first))
    assert seen.failure is not None
    assert seen.failure.log == "out of memory"


@pytest.mark.parametrize("pod", [crashed_learner(exit_code=75), crashed_learner(exit_code=1, disrupted=True)])
def test_a_drained_learner_is_no_failure(pod: Pod) -> None:
    seen = status(previous=running(), learner_job=learner_job(), pods=(pod,))
    assert (seen.attempt, seen.restarts, seen.failure) == (1, 0, None)


def test_a_failure_whose_pod_is_gone_is_told_from_the_jobs_own_condition() -> None:
    failed = learner_job(failed=True, failure_reason="PodFailurePolicy", failure_message="Pod x failed")
    seen = status(previous=running(), learner_job=failed)
    assert seen.failure is not None
    assert seen.failure.message == "learners failed: Pod x failed"


def test_a_log_is_kept_to_its_last_two_kibibytes() -> None:
    seen = after_failure(log="x" * 10_000 + "end")
    assert seen.failure is not None
    assert len(seen.failure.log) == 2048
    assert seen.failure.log.endswith("end")


def test_a_lost_status_takes_the_attempt_of_the_job_that_is_there() -> None:
    assert status(learner_job=learner_job(attempt=5), pods=(ready_learner(attempt=5),)).attempt == 5


# The end --------------------------------------------------------------------------------------------------------------


def test_a_job_ends_with_its_learners() -> None:
    ended = status(
        previous=running(), learner_job=learner_job(succeeded=True), reports=(report(message="return 18.3"),)
    )
    assert (ended.phase, ended.message) == (Phase.Succeeded, "return 18.3")
    assert ended.holds(ConditionType.Complete)
    assert ended.completion_time == "2030-01-01T12:00:00Z"


def test_an_ended_job_stays_as_it_ended() -> None:
    ended = status(previous=running(), learner_job=learner_job(succeeded=True))
    later_on = status(make_job({"suspend": True}, generation=2), seconds=99, previous=ended)
    assert later_on == replace(ended, observed_generation=2, learners=later_on.learners, simulators=later_on.simulators)


def test_the_time_a_job_may_take_is_limited() -> None:
    job = make_job({"activeDeadlineSeconds": 3600})
    assert status(job, seconds=3599, previous=running(job), pods=(ready_learner(),)).phase is Phase.Running
    ended = status(job, seconds=3600, previous=running(job), pods=(ready_learner(),))
    assert (ended.phase, ended.message) == (Phase.Failed, "not finished within 1h (spec.activeDeadlineSeconds)")
    assert reason(ended, ConditionType.Failed) == "DeadlineExceeded"


def pending_job(**metadata: Any) -> TrainingJob:
    return make_job({"pendingDeadlineSeconds": 600}, creationTimestamp="2030-01-01T12:00:00Z", **metadata)


def test_the_time_a_job_may_wait_is_limited() -> None:
    pods = (learner_pod(unschedulable="0/5 nodes have 4 free cpu"),)
    waiting = status(pending_job(), seconds=599, previous=status(pending_job()), pods=pods)
    ended = status(pending_job(), seconds=600, previous=waiting, pods=pods)
    assert waiting.phase is Phase.Pending
    assert reason(ended, ConditionType.Failed) == "PendingDeadlineExceeded"
    assert ended.message == (
        "learners did not run within 10m (spec.pendingDeadlineSeconds): "
        "1 learner cannot be scheduled: 0/5 nodes have 4 free cpu"
    )


def test_a_job_that_ran_is_not_pending_when_it_restarts() -> None:
    ran = status(pending_job(), previous=status(pending_job()), learner_job=learner_job(), pods=(ready_learner(),))
    assert status(pending_job(), seconds=6000, previous=ran, pods=(learner_pod(),)).phase is Phase.Pending


# Suspension and queues ------------------------------------------------------------------------------------------------

SUSPENDED = {"suspend": True}


def test_a_suspended_job_says_when_its_pods_are_gone() -> None:
    leaving = status(make_job(SUSPENDED), previous=running(), learner_job=learner_job(), pods=(ready_learner(),))
    gone = status(make_job(SUSPENDED), previous=leaving)
    assert leaving.message == "suspending: 1 learner to write a checkpoint and leave"
    assert gone.message == "suspended; set spec.suspend to false to go on"
    assert reason(leaving, ConditionType.Suspended) == "Suspending"
    assert reason(gone, ConditionType.Suspended) == "Suspended"


def test_a_resume_is_a_new_attempt_and_no_restart() -> None:
    suspended = status(make_job(SUSPENDED), previous=running())
    resumed = status(seconds=60, previous=suspended)
    assert (resumed.attempt, resumed.restarts, resumed.last_resume_time) == (2, 0, "2030-01-01T12:01:00Z")
    assert not resumed.holds(ConditionType.Suspended)
    assert status(seconds=90, previous=resumed).attempt == 2


def test_a_job_made_suspended_begins_nothing() -> None:
    waiting = status(make_job(SUSPENDED))
    assert (waiting.attempt, waiting.start_time, waiting.phase) == (0, None, Phase.Suspended)
    assert status(previous=waiting).attempt == 1


def test_a_queued_job_names_its_queue() -> None:
    job = make_job(labels={"kueue.x-k8s.io/queue-name": "team"})
    queued = status(job, previous=status(job), learner_job=learner_job(held=True))
    admitted = status(job, previous=queued, learner_job=learner_job(), pods=(ready_learner(),))
    assert (queued.phase, queued.message) == (Phase.Pending, "waiting for quota in queue team")
    assert not queued.holds(ConditionType.Admitted)
    assert admitted.holds(ConditionType.Admitted)


# Troubles -------------------------------------------------------------------------------------------------------------

LOOPING = Termination(exit_code=1, reason="Error", log="Traceback\nImportError: no game\n")
OUT_OF_MEMORY = Termination(exit_code=137, reason="OOMKilled")


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (
            {"pods": (ready_learner(), *[simulator_pod(unschedulable="0/5 nodes have 4 free cpu")] * 2)},
            "2 simulators cannot be scheduled: 0/5 nodes have 4 free cpu",
        ),
        (
            {"pods": (learner_pod(waiting="ImagePullBackOff", waiting_message='Back-off pulling image "x:1"'),)},
            '1 learner cannot pull the image: Back-off pulling image "x:1"',
        ),
        (
            {"pods": (ready_learner(), simulator_pod(waiting="CrashLoopBackOff", termination=LOOPING))},
            "1 simulator in a crash loop: exit code 1: ImportError: no game",
        ),
        (
            {"pods": (ready_learner(), simulator_pod(waiting="CrashLoopBackOff", termination=OUT_OF_MEMORY))},
            "1 simulator in a crash loop: exit code 137 (OOMKilled)",
        ),
        (
            {"pods": (learner_pod(waiting="CreateContainerConfigError", waiting_message="secret x not found"),)},
            "1 learner cannot start: secret x not found",
        ),
        (
            {"pods": (ready_learner(),), "simulator_set": SimulatorSet(desired=8, failure="exceeded quota: team")},
            "simulators cannot be created: exceeded quota: team",
        ),
        (
            {"pods": (ready_learner(),), "problems": ("learners cannot be created: exceeded quota: team",)},
            "learners cannot be created: exceeded quota: team",
        ),
    ],
)
def test_troubles_are_told_in_one_sentence_and_degrade_the_job(seen: dict[str, Any], message: str) -> None:
    troubled = status(previous=status(), learner_job=learner_job(), **seen)
    assert troubled.message == message
    assert troubled.holds(ConditionType.Degraded)


def test_several_troubles_are_told_the_gravest_first_and_counted() -> None:
    pods = (
        simulator_pod(unschedulable="no cpu"),
        simulator_pod(unschedulable="no cpu"),
        simulator_pod(unschedulable="taints"),
        learner_pod(unschedulable="no gpu"),
    )
    assert status(previous=status(), learner_job=learner_job(), pods=pods).message == (
        "1 learner cannot be scheduled: no gpu; 3 simulators cannot be scheduled: no cpu"
    )


def test_a_pod_that_is_being_deleted_is_no_trouble() -> None:
    pods = (ready_learner(), simulator_pod(unschedulable="no cpu", deleting=True))
    assert status(previous=status(), learner_job=learner_job(), pods=pods).message == "training"


# Progress -------------------------------------------------------------------------------------------------------------


def test_progress_is_told_in_numbers_and_for_people() -> None:
    job = make_job({"totalSteps": 20_000_000})
    told = report(updates=97, steps_per_second=41_237.6, episode_return=18.34, policy_lag=0.0, mode=Mode.Sync)
    progress = running(job, reports=(told,)).progress
    assert progress is not None
    assert (progress.steps, progress.steps_summary, progress.frames) == (12_400_000, "12.4M", 49_600_000)
    assert (progress.steps_per_second, progress.episode_return, progress.policy_lag) == (41_200, "18.3", "0")
    assert (progress.percent, progress.estimated_remaining_seconds, progress.remaining) == ("62%", 184, "3m4s")


def test_no_number_of_a_status_is_a_float() -> None:
    told = derive_status(make_job(), Observed(previous=running(), reports=(report(episode_return=1.5),)), NOW)
    assert not [value for value in flattened(told) if isinstance(value, float)]


def flattened(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flattened(item)]
    return [leaf for item in value for leaf in flattened(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize(("seconds", "steps"), [(14, 12_400_000), (15, 13_000_000)])
def test_progress_is_written_every_15_seconds_at_most(seconds: float, steps: int) -> None:
    first = running(reports=(report(),))
    seen = {"learner_job": learner_job(), "pods": (ready_learner(),), "reports": (report(steps=13_000_000),)}
    progress = status(seconds=seconds, previous=first, **seen).progress
    assert progress is not None
    assert progress.steps == steps


def test_the_end_is_told_at_once() -> None:
    first = running(reports=(report(),))
    ended = status(seconds=1, previous=first, learner_job=learner_job(succeeded=True), reports=(report(steps=9),))
    assert ended.progress is not None
    assert ended.progress.steps == 9


def test_a_report_of_an_earlier_attempt_is_not_listened_to() -> None:
    second = replace(running(), attempt=2)
    assert status(previous=second, reports=(report(attempt=1),)).progress is None


def test_progress_and_checkpoint_outlive_the_learner() -> None:
    written = report(checkpoint_step=12_000_000, checkpoint_path="c/12", checkpoint_time="2030-01-01T11:58:00.5+00:00")
    first = running(reports=(written,))
    lost = status(seconds=60, previous=first, learner_job=learner_job())
    assert lost.progress == first.progress
    assert lost.checkpoint == first.checkpoint
    assert first.checkpoint is not None
    assert first.checkpoint.time == "2030-01-01T11:58:00Z"


def test_the_mode_is_what_learners_say_and_unknown_before_where_it_is_left_to_them() -> None:
    assert status().mode is None
    assert status(make_job({"mode": "Sync"})).mode is Mode.Sync
    assert running(reports=(report(mode=Mode.Async),)).mode is Mode.Async


def test_pods_are_counted_and_selected() -> None:
    pods = (simulator_pod(ready=True), simulator_pod(), simulator_pod(deleting=True, ready=True))
    simulators = status(make_job({"simulators": {"replicas": 3}}), pods=pods).simulators
    assert (simulators.desired, simulators.replicas, simulators.ready, simulators.summary) == (3, 2, 1, "1/3")
    assert simulators.selector == f"stepstream.dev/job=pong,stepstream.dev/role={SIMULATOR}"


# Written and read -----------------------------------------------------------------------------------------------------


def test_a_status_survives_being_written_and_read_again() -> None:
    full = after_failure(previous=running(reports=(report(episode_return=1.0, checkpoint_step=3),)))
    told = derive_status(make_job(), Observed(previous=full, learner_job=learner_job(attempt=2)), NOW)
    read = previous_status({"status": told})
    assert derive_status(make_job(), Observed(previous=read, learner_job=learner_job(attempt=2)), NOW) == told


def test_a_spec_that_cannot_be_worked_with_is_not_accepted_and_nothing_else_changes() -> None:
    errors = ConfigurationErrors([FieldError(path="spec.seed", problem="must be an integer")])
    told = previous_status({"status": refused_status(running(), errors, 2, NOW)})
    assert not told.holds(ConditionType.Accepted)
    assert (told.message, told.attempt) == ("spec.seed: must be an integer", 1)
    assert told.holds(ConditionType.Ready)
