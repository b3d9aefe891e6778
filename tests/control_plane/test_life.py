"""A job's life on a real control plane: what users see at every stage."""

from __future__ import annotations

import json
import logging

import pytest

from stepstream_operator.api.status_types import ConditionType
from stepstream_operator.children.names import ATTEMPT_LABEL
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    SECRETS,
    SERVICES,
    TRAINING_JOBS,
    Object,
)
from tests.support.cluster_fixtures import StartOperator
from tests.support.daemons import eventually
from tests.support.lives import run, settles, simulators, uids
from tests.support.running_operator import Cluster, learner_status, manifest

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]


def test_a_job_starts_learners_first_then_simulators_and_succeeds(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    learner, simulator = cluster.pods("learner")[0], cluster.pods("simulator")[0]
    assert learner["metadata"]["creationTimestamp"] <= simulator["metadata"]["creationTimestamp"]
    cluster.end_learners(0)
    cluster.reaches("Succeeded")
    eventually(lambda: cluster.all(DEPLOYMENTS) == [], timeout_seconds=60, what="simulators are removed")
    status = cluster.status()
    assert (status.holds(ConditionType.Complete), len(cluster.all(JOBS))) == (True, 1)
    assert status.completion_time is not None
    cluster.tells("Started", "LearnersReady", "Complete")


def test_the_last_figures_are_those_of_the_learners_end(cluster: Cluster) -> None:
    run(cluster)
    cluster.answer(steps=100, episodeReturn=1.0)
    eventually(lambda: cluster.status().progress, timeout_seconds=60, what="the first figures")
    cluster.end_learners(0, json.dumps(learner_status(phase="Succeeded", steps=200, episodeReturn=19.5)))
    cluster.reaches("Succeeded")
    progress = cluster.status().progress
    assert progress is not None
    assert (progress.steps, progress.episode_return) == (200, "19.5")


def test_suspending_frees_every_pod_and_resuming_begins_a_new_attempt(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    cluster.edit("pong", suspend=True)
    cluster.reaches("Suspended")
    eventually(lambda: cluster.all(PODS) == [], timeout_seconds=60, what="no pod is left")
    cluster.edit("pong", suspend=False)
    cluster.reaches("Running")
    status = cluster.status()
    assert (status.attempt, status.restarts, status.holds(ConditionType.Suspended)) == (2, 0, False)
    assert status.last_resume_time is not None
    cluster.tells("Suspended", "Resumed")


def test_a_suspended_learner_is_ended_gracefully(cluster: Cluster) -> None:
    run(cluster)
    assert cluster.all(PODS)[0]["spec"]["terminationGracePeriodSeconds"] == 120


def test_a_failed_learner_is_restarted_with_the_count_persisted(cluster: Cluster) -> None:
    run(cluster)
    cluster.end_learners(1, "Traceback\nValueError: boom")
    eventually(lambda: cluster.status().attempt == 2, timeout_seconds=60, what="a second attempt")
    cluster.reaches("Running")
    status = cluster.status()
    assert (status.restarts, status.failure and status.failure.exit_code) == (1, 1)
    assert status.failure is not None
    assert "ValueError: boom" in status.failure.log
    assert (cluster.learner_job() or {})["metadata"]["labels"][ATTEMPT_LABEL] == "2"


def test_what_is_done_for_an_attempt_is_logged_under_its_number(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run(cluster)
    cluster.end_learners(1, "ValueError: boom")
    eventually(lambda: cluster.status().attempt == 2, timeout_seconds=60, what="a second attempt")
    cluster.reaches("Running")
    applied = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "apply"]
    assert [fields["attempt"] for fields in applied if fields["kind"] == "Job"] == [1, 2]


def test_failures_beyond_the_limit_fail_the_job_with_the_last_log_lines(cluster: Cluster) -> None:
    run(cluster, backoffLimit=0)
    cluster.end_learners(1, "ValueError: boom")
    cluster.reaches("Failed")
    failure = cluster.status().failure
    assert failure is not None
    assert (failure.reason, failure.log) == ("BackoffLimitExceeded", "ValueError: boom")
    cluster.tells("Failed")


def test_input_that_cannot_work_is_never_tried_again(cluster: Cluster) -> None:
    run(cluster)
    cluster.end_learners(78, "environment.id: no such environment")
    cluster.reaches("Failed")
    status = cluster.status()
    assert (status.restarts, status.failure and status.failure.reason) == (0, "InvalidInput")


@pytest.mark.parametrize(("exit_code", "disrupted"), [(137, True), (75, False)], ids=["preempted", "told to resume"])
def test_a_disruption_costs_no_restart(cluster: Cluster, exit_code: int, disrupted: bool) -> None:
    run(cluster, backoffLimit=0)
    first = uids(cluster.pods("learner"))
    cluster.end_pod(cluster.pods("learner")[0], exit_code, disrupted=disrupted)
    eventually(
        lambda: [p for p in cluster.pods("learner") if p["metadata"]["uid"] not in first],
        timeout_seconds=60,
        what="another learner pod",
    )
    cluster.reaches("Running")
    assert (cluster.status().attempt, cluster.status().restarts) == (1, 0)


def test_changing_the_number_of_simulators_touches_no_other_pod(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    before = uids(cluster.all(PODS))
    scale = {"spec": {"replicas": 4}}
    cluster.admin.merge(TRAINING_JOBS, cluster.namespace, "pong", scale, subresource="scale")
    simulators(cluster, 4)
    assert before <= uids(cluster.all(PODS))
    config = cluster.admin.get(CONFIG_MAPS, cluster.namespace, "pong-config") or {}
    assert '"replicas": 4' in config["data"]["job.json"]


def test_another_image_waits_for_the_next_attempt_so_that_learners_and_simulators_fit(cluster: Cluster) -> None:
    def images() -> set[str]:
        return {pod["spec"]["containers"][0]["image"] for pod in cluster.pods("learner") + cluster.pods("simulator")}

    run(cluster, image="own:1")
    simulators(cluster, 2)
    cluster.edit("pong", image="own:2", simulators={"replicas": 3})
    simulators(cluster, 3)
    assert images() == {"own:1"}
    cluster.end_learners(1)
    eventually(lambda: images() == {"own:2"}, timeout_seconds=60, what="the new image in the second attempt")
    cluster.reaches("Running")


def test_a_limit_that_is_taken_out_of_a_job_is_taken_out_of_its_pods(cluster: Cluster) -> None:
    def limits() -> list[Object]:
        return [pod["spec"]["containers"][0]["resources"].get("limits") for pod in cluster.pods("simulator")]

    run(cluster, simulators={"replicas": 2, "resources": {"limits": {"memory": "1Gi"}}})
    eventually(lambda: limits() == [{"memory": "1Gi"}] * 2, timeout_seconds=60, what="two limited simulators")
    cluster.edit("pong", simulators={"resources": {"limits": None}})
    eventually(lambda: limits() == [None] * 2, timeout_seconds=60, what="two simulators without a limit")


def test_deleting_a_job_leaves_nothing_behind(cluster: Cluster) -> None:
    run(cluster)
    simulators(cluster, 2)
    cluster.admin.delete(TRAINING_JOBS, cluster.namespace, "pong")
    kinds = (JOBS, DEPLOYMENTS, PODS, SERVICES, SECRETS)
    eventually(lambda: not any(cluster.all(kind) for kind in kinds), timeout_seconds=60, what="nothing is left")


def test_a_finished_job_is_deleted_after_its_time(cluster: Cluster) -> None:
    run(cluster, ttlSecondsAfterFinished=1)
    cluster.end_learners(0)
    eventually(lambda: cluster.job() is None, timeout_seconds=60, what="the job is deleted")


def test_a_job_that_overruns_its_deadline_fails_and_its_learners_stop(cluster: Cluster) -> None:
    cluster.submit(manifest(activeDeadlineSeconds=4))
    cluster.reaches("Failed")
    failure = cluster.status().failure
    assert failure is not None
    assert failure.reason == "DeadlineExceeded"
    eventually(lambda: cluster.pods("learner") == [], timeout_seconds=60, what="learners stop")


def test_a_job_whose_learners_never_run_fails_after_its_pending_deadline(cluster: Cluster) -> None:
    cluster.submit(manifest(learners={"resources": {"requests": {"cpu": "4000"}}}))
    eventually(
        lambda: "nodes are available" in cluster.status().message, timeout_seconds=60, what="the cause is in its status"
    )
    cluster.edit("pong", pendingDeadlineSeconds=1)
    cluster.reaches("Failed")
    failure = cluster.status().failure
    assert failure is not None
    assert failure.reason == "PendingDeadlineExceeded"
    assert "nodes are available" in failure.message


@pytest.mark.parametrize(
    ("policy", "jobs", "deployments"),
    [("Running", 1, 0), ("All", 0, 0), ("None", 1, 1)],
    ids=["Running", "All", "None"],
)
def test_what_is_removed_at_the_end_is_the_users_choice(
    cluster: Cluster, policy: str, jobs: int, deployments: int
) -> None:
    run(cluster, cleanupPolicy=policy)
    cluster.end_learners(0)
    cluster.reaches("Succeeded")
    eventually(
        lambda: (len(cluster.all(JOBS)), len(cluster.all(DEPLOYMENTS))) == (jobs, deployments),
        timeout_seconds=60,
        what=f"{jobs} Jobs and {deployments} Deployments",
    )


@pytest.mark.parametrize(
    ("replicas", "learner", "simulator", "wanted"),
    [
        pytest.param(2, 0.4, 0.0, 3, id="more for learners that starve, up to the maximum"),
        pytest.param(3, 0.0, 0.9, 1, id="fewer where simulators wait, down to the minimum"),
    ],
)
def test_simulators_are_as_many_as_are_waited_for(
    cluster: Cluster,
    start: StartOperator,
    operator: Operator,
    replicas: int,
    learner: float,
    simulator: float,
    wanted: int,
) -> None:
    operator.stop()
    start(scaling_rest_seconds=0.5)
    run(cluster, simulators={"replicas": replicas, "minReplicas": 1, "maxReplicas": 3})
    waiting = {"learnerFraction": learner, "simulatorFraction": simulator}
    cluster.train_until(lambda: len(cluster.pods("simulator")) == wanted, what=f"{wanted} simulators", waiting=waiting)
    cluster.tells("ScaledSimulators")


def test_a_settled_job_costs_no_requests(cluster: Cluster, operator: Operator) -> None:
    run(cluster)
    settles(cluster, operator)


def test_a_job_deleted_takes_its_metrics_along(cluster: Cluster, operator: Operator) -> None:
    def phases() -> dict[str, float]:
        return {sample.labels["phase"]: sample.value for sample in next(iter(operator.metrics.jobs.collect())).samples}

    run(cluster)
    eventually(lambda: phases() == {"Running": 1.0}, timeout_seconds=60, what="one running job")
    cluster.admin.delete(TRAINING_JOBS, cluster.namespace, "pong")
    eventually(lambda: phases() == {}, timeout_seconds=60, what="no series is left")
