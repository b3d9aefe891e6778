"""How a job stands, told from what is seen of it."""

from dataclasses import replace
from typing import Any

import pytest

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import ConditionType, JobStatus, Phase
from stepstream_operator.status import Observed, Pod, SimulatorSet, Termination, next_deadline
from tests.support.jobs import (
    NOW,
    crashed_learner,
    derived,
    later,
    learner_job,
    learner_pod,
    make_job,
    ready_learner,
    report,
    running,
    simulator_pod,
)


def reason(of: JobStatus, kind: ConditionType) -> str:
    condition = of.condition(kind)
    assert condition is not None
    return condition.reason


def test_a_new_job_begins_its_first_attempt() -> None:
    begun = derived()
    assert (begun.attempt, begun.restarts, begun.start_time) == (1, 0, "2030-01-01T12:00:00Z")
    assert (begun.phase, begun.message) == (Phase.Pending, "waiting for 1 of 1 learner to be ready")


def test_every_condition_is_said_from_the_first_status_on() -> None:
    assert [condition.type for condition in derived().conditions] == list(ConditionType)


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
    assert derived(previous=derived(), learner_job=learner_job(), pods=pods).phase is phase


def test_a_calibrating_learner_shows() -> None:
    assert running(reports=(report(phase="Calibrating"),)).phase is Phase.Calibrating


def test_a_ready_job_says_so() -> None:
    assert running().holds(ConditionType.Ready)
    assert running().message == "training"
    assert running().learners.summary == "1/1"


def test_a_learner_that_was_ready_and_is_not_is_lost_until_it_is_back() -> None:
    lost = derived(previous=running(), learner_job=learner_job(), pods=(learner_pod(),))
    still_lost = derived(previous=lost, learner_job=learner_job(), pods=())
    assert reason(lost, ConditionType.Ready) == reason(still_lost, ConditionType.Ready) == "LearnersLost"
    assert reason(derived(previous=derived()), ConditionType.Ready) == "LearnersStarting"


def test_a_learner_that_is_drained_is_ready_no_more() -> None:
    drained = derived(previous=running(), learner_job=learner_job(), pods=(ready_learner(deleting=True),))
    assert (drained.phase, drained.learners.summary) == (Phase.Pending, "0/1")
    assert reason(drained, ConditionType.Ready) == "LearnersLost"


def test_a_transition_time_changes_with_the_status_only() -> None:
    first = running()
    second = derived(seconds=60, previous=first, learner_job=learner_job(), pods=(ready_learner(),))
    assert second.condition(ConditionType.Ready) == first.condition(ConditionType.Ready)


def test_nothing_new_gives_the_same_status() -> None:
    first = running(reports=(report(),))
    seen = {"learner_job": learner_job(), "pods": (ready_learner(),), "reports": (report(),)}
    assert derived(seconds=3600, previous=first, **seen) == first


# Failures and restarts ------------------------------------------------------------------------------------------------


def after_failure(job: TrainingJob | None = None, previous: JobStatus | None = None, **learner: Any) -> JobStatus:
    previous = previous or running(job)
    pod = crashed_learner(attempt=previous.attempt, **learner)
    failed = learner_job(attempt=previous.attempt, failed=True, failure_reason="BackoffLimitExceeded")
    return derived(job, previous=previous, learner_job=failed, pods=(pod,))


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
    again = derived(previous=once, learner_job=learner_job(failed=True), pods=(crashed_learner(),))
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
    seen = derived(previous=running(), learner_job=learner_job(failed=True), pods=(second, first))
    assert seen.failure is not None
    assert seen.failure.log == "out of memory"


@pytest.mark.parametrize("pod", [crashed_learner(exit_code=75), crashed_learner(exit_code=1, disrupted=True)])
def test_a_drained_learner_is_no_failure(pod: Pod) -> None:
    seen = derived(previous=running(), learner_job=learner_job(), pods=(pod,))
    assert (seen.attempt, seen.restarts, seen.failure) == (1, 0, None)


def test_a_failure_whose_pod_is_gone_is_told_from_the_jobs_own_condition() -> None:
    failed = learner_job(failed=True, failure_reason="BackoffLimitExceeded", failure_message="Pod x failed")
    seen = derived(previous=running(), learner_job=failed)
    assert seen.failure is not None
    assert (seen.failure.message, seen.attempt) == ("learners failed: Pod x failed", 2)


BY_RULE = {"failed": True, "failure_reason": "PodFailurePolicy", "failure_message": "exit code 78"}


def test_input_that_cannot_work_is_not_tried_again_though_its_pod_is_gone() -> None:
    seen = derived(previous=running(), learner_job=learner_job(**BY_RULE))
    assert (seen.phase, seen.attempt, reason(seen, ConditionType.Failed)) == (Phase.Failed, 1, "InvalidInput")


def test_input_that_cannot_work_is_the_cause_though_another_learner_failed_first() -> None:
    invalid = crashed_learner(exit_code=78, log="no such game", name="b")
    assert invalid.termination is not None
    later_on = replace(invalid, termination=replace(invalid.termination, finished_at=later(90)))
    seen = derived(previous=running(), learner_job=learner_job(**BY_RULE), pods=(crashed_learner(), later_on))
    assert seen.failure is not None
    assert (seen.failure.log, seen.failure.exit_code) == ("no such game", 78)


def test_a_failure_waits_a_moment_for_the_pod_that_explains_it() -> None:
    failed = learner_job(failed=True, ended_at=NOW)
    assert derived(seconds=14, previous=running(), learner_job=failed).attempt == 1
    explained = derived(seconds=14, previous=running(), learner_job=failed, pods=(crashed_learner(),))
    assert (explained.attempt, explained.failure and explained.failure.exit_code) == (2, 1)
    assert derived(seconds=15, previous=running(), learner_job=failed).attempt == 2
    waiting = Observed(previous=running(), learner_job=failed)
    assert next_deadline(make_job(), waiting, later(14)) == later(15)


def test_of_learners_that_are_retried_apart_the_one_that_failed_too_often_is_the_cause() -> None:
    forgiven, last = crashed_learner(log="out of memory"), crashed_learner(log="no such file", name="b")
    assert last.termination is not None
    last = replace(last, termination=replace(last.termination, finished_at=later(90)), earlier_failures=3)
    failed = learner_job(failed=True, ended_at=later(90), failure_reason="MaxFailedIndexesExceeded")
    assert derived(seconds=91, previous=running(), learner_job=failed, pods=(forgiven,)).attempt == 1
    seen = derived(seconds=91, previous=running(), learner_job=failed, pods=(forgiven, last))
    assert (seen.attempt, seen.failure and seen.failure.log) == (2, "no such file")


def test_a_log_is_kept_to_its_last_two_kibibytes() -> None:
    seen = after_failure(log="x" * 10_000 + "end")
    assert seen.failure is not None
    assert len(seen.failure.log) == 2048
    assert seen.failure.log.endswith("end")


def test_a_lost_status_takes_the_attempt_of_the_job_that_is_there() -> None:
    assert derived(learner_job=learner_job(attempt=5), pods=(ready_learner(attempt=5),)).attempt == 5


# The end --------------------------------------------------------------------------------------------------------------


def test_a_job_ends_with_its_learners() -> None:
    ended = derived(
        previous=running(), learner_job=learner_job(succeeded=True), reports=(report(message="return 18.3"),)
    )
    assert (ended.phase, ended.message) == (Phase.Succeeded, "return 18.3")
    assert ended.holds(ConditionType.Complete)
    assert ended.completion_time == "2030-01-01T12:00:00Z"


def test_a_success_waits_a_moment_for_the_last_words_of_all_learners() -> None:
    ended, said = learner_job(succeeded=True, ended_at=NOW), replace(ready_learner(), ended=True)
    talking = {"previous": running(), "learner_job": ended, "pods": (said, ready_learner(name="b"))}
    assert derived(seconds=14, **talking).phase is Phase.Running
    assert derived(seconds=15, **talking).phase is Phase.Succeeded
    assert next_deadline(make_job(), Observed(**talking), later(14)) == later(15)
    for pods in ((said, replace(said, name="b")), ()):
        assert derived(seconds=1, **talking | {"pods": pods}).phase is Phase.Succeeded


def test_an_ended_job_stays_as_it_ended() -> None:
    ended = derived(previous=running(), learner_job=learner_job(succeeded=True))
    later_on = derived(make_job({"suspend": True}, generation=2), seconds=99, previous=ended)
    assert later_on == replace(ended, observed_generation=2, learners=later_on.learners, simulators=later_on.simulators)


def test_the_time_a_job_may_take_is_limited() -> None:
    job = make_job({"activeDeadlineSeconds": 3600})
    assert derived(job, seconds=3599, previous=running(job), pods=(ready_learner(),)).phase is Phase.Running
    ended = derived(job, seconds=3600, previous=running(job), pods=(ready_learner(),))
    assert (ended.phase, ended.message) == (Phase.Failed, "not finished within 1h (spec.activeDeadlineSeconds)")
    assert reason(ended, ConditionType.Failed) == "DeadlineExceeded"


def test_time_spent_in_a_queue_or_suspended_does_not_count_and_the_clock_starts_anew_afterwards() -> None:
    limit = {"activeDeadlineSeconds": 3600}
    job, suspended = make_job(limit, labels={"kueue.x-k8s.io/queue-name": "team"}), make_job({"suspend": True} | limit)
    queued = derived(job, seconds=1, previous=derived(job), learner_job=learner_job(held=True))
    still_queued = derived(job, seconds=7200, previous=queued, learner_job=learner_job(held=True))
    admitted = derived(job, seconds=7200, previous=still_queued, learner_job=learner_job())
    halted = derived(suspended, seconds=7300, previous=admitted)
    still_halted = derived(suspended, seconds=20_000, previous=halted)
    resumed = derived(job, seconds=30_000, previous=still_halted)
    assert [seen.phase for seen in (still_queued, admitted, still_halted, resumed)] == [
        Phase.Pending,
        Phase.Pending,
        Phase.Suspended,
        Phase.Pending,
    ]
    assert derived(job, seconds=33_599, previous=resumed).phase is Phase.Pending
    assert reason(derived(job, seconds=33_600, previous=resumed), ConditionType.Failed) == "DeadlineExceeded"


def pending_job(**metadata: Any) -> TrainingJob:
    return make_job({"pendingDeadlineSeconds": 600}, creationTimestamp="2030-01-01T12:00:00Z", **metadata)


def test_the_time_a_job_may_wait_is_limited() -> None:
    pods = (learner_pod(unschedulable="0/5 nodes have 4 free cpu"),)
    waiting = derived(pending_job(), seconds=599, previous=derived(pending_job()), pods=pods)
    ended = derived(pending_job(), seconds=600, previous=waiting, pods=pods)
    assert waiting.phase is Phase.Pending
    assert reason(ended, ConditionType.Failed) == "PendingDeadlineExceeded"
    assert ended.message == (
        "learners did not run within 10m (spec.pendingDeadlineSeconds): "
        "1 learner cannot be scheduled: 0/5 nodes have 4 free cpu"
    )


def test_a_job_that_was_made_suspended_waits_from_its_resume_on() -> None:
    held = replace(pending_job(), spec=replace(pending_job().spec, suspend=True))
    resumed = derived(pending_job(), seconds=9000, previous=derived(held))
    assert resumed.phase is Phase.Pending
    assert derived(pending_job(), seconds=9599, previous=resumed).phase is Phase.Pending
    assert derived(pending_job(), seconds=9600, previous=resumed).phase is Phase.Failed


def test_a_job_that_ran_is_not_pending_when_it_restarts() -> None:
    ran = derived(pending_job(), previous=derived(pending_job()), learner_job=learner_job(), pods=(ready_learner(),))
    assert derived(pending_job(), seconds=6000, previous=ran, pods=(learner_pod(),)).phase is Phase.Pending


# Suspension and queues ------------------------------------------------------------------------------------------------

SUSPENDED = {"suspend": True}


def test_a_suspended_job_says_when_its_pods_are_gone() -> None:
    leaving = derived(make_job(SUSPENDED), previous=running(), learner_job=learner_job(), pods=(ready_learner(),))
    gone = derived(make_job(SUSPENDED), previous=leaving)
    assert leaving.message == "suspending: 1 learner to write a checkpoint and leave"
    assert gone.message == "suspended; set spec.suspend to false to go on"
    assert reason(leaving, ConditionType.Suspended) == "Suspending"
    assert reason(gone, ConditionType.Suspended) == "Suspended"


def test_a_resume_is_a_new_attempt_and_no_restart() -> None:
    suspended = derived(make_job(SUSPENDED), previous=running())
    resumed = derived(seconds=60, previous=suspended)
    assert (resumed.attempt, resumed.restarts, resumed.last_resume_time) == (2, 0, "2030-01-01T12:01:00Z")
    assert not resumed.holds(ConditionType.Suspended)
    assert derived(seconds=90, previous=resumed).attempt == 2


@pytest.mark.parametrize("suspend", [True, False], ids=["suspended", "resumed"])
def test_learners_that_had_to_be_killed_to_suspend_a_job_are_no_failure(suspend: bool) -> None:
    job = make_job({"suspend": suspend, "backoffLimit": 0})
    leaving = derived(make_job(SUSPENDED), previous=running(), learner_job=learner_job(deleting=True))
    killed = learner_job(deleting=True, failed=True)
    seen = derived(job, previous=leaving, learner_job=killed, pods=(crashed_learner(exit_code=137),))
    assert (seen.restarts, seen.failure, seen.attempt) == (0, None, 1 if suspend else 2)
    assert seen.phase is (Phase.Suspended if suspend else Phase.Pending)


def test_a_job_made_suspended_begins_nothing() -> None:
    waiting = derived(make_job(SUSPENDED))
    assert (waiting.attempt, waiting.start_time, waiting.phase) == (0, None, Phase.Suspended)
    assert derived(previous=waiting).attempt == 1


def test_a_queued_job_names_its_queue() -> None:
    job = make_job(labels={"kueue.x-k8s.io/queue-name": "team"})
    queued = derived(job, previous=derived(job), learner_job=learner_job(held=True))
    admitted = derived(job, previous=queued, learner_job=learner_job(), pods=(ready_learner(),))
    assert (queued.phase, queued.message) == (Phase.Pending, "waiting for quota in queue team")
    assert not queued.holds(ConditionType.Admitted)
    assert admitted.holds(ConditionType.Admitted)


def test_a_job_whose_learners_somebody_suspended_without_a_queue_says_what_lifts_it() -> None:
    held = derived(previous=running(), learner_job=learner_job(held=True))
    assert held.message == "Job pong-learner was suspended by somebody; set its spec.suspend to false to go on"
    assert not held.holds(ConditionType.Admitted)


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
    troubled = derived(previous=derived(), learner_job=learner_job(), **seen)
    assert troubled.message == message
    assert troubled.holds(ConditionType.Degraded)


def test_several_troubles_are_told_the_gravest_first_and_counted() -> None:
    pods = (
        simulator_pod(unschedulable="no cpu"),
        simulator_pod(unschedulable="no cpu"),
        simulator_pod(unschedulable="taints"),
        learner_pod(unschedulable="no gpu"),
    )
    assert derived(previous=derived(), learner_job=learner_job(), pods=pods).message == (
        "1 learner cannot be scheduled: no gpu; 3 simulators cannot be scheduled: no cpu"
    )


def test_a_pod_that_is_being_deleted_is_no_trouble() -> None:
    pods = (ready_learner(), simulator_pod(unschedulable="no cpu", deleting=True))
    assert derived(previous=derived(), learner_job=learner_job(), pods=pods).message == "training"
