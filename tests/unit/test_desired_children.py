"""What a job becomes on a cluster, and that one machine runs the same containers."""

from pathlib import Path
from typing import Any

import pytest

from stepstream_operator.api import TrainingJob
from stepstream_operator.children import (
    LEARNER,
    SIMULATOR,
    Images,
    Manifest,
    cluster_placement,
    desired_children,
    files,
    local_placement,
    process,
    workload,
)
from stepstream_operator.children.names import ATTEMPT_LABEL
from stepstream_operator.children.overlay import merged
from stepstream_trainer.config import ConfigurationErrors, contract, load_trainer_config
from tests.support.jobs import UID, make_job


def children(job: TrainingJob, attempt: int = 1, tls: bool = True, **options: Any) -> list[Manifest]:
    return desired_children(job, attempt, cluster_placement(job, tls=tls), **options)


def local_children(job: TrainingJob, **options: Any) -> list[Manifest]:
    return desired_children(job, 1, local_placement(run_dir="/runs/pong", socket_dir="/tmp/s", **options))


def child(job: TrainingJob, kind: str, **options: Any) -> Manifest:
    return next(child for child in children(job, **options) if child["kind"] == kind)


def image(job: TrainingJob, role: str, **placed: Any) -> str:
    placement = cluster_placement(job, tls=True, images=Images(learner="chart:l", simulator="chart:s"), **placed)
    container = workload(desired_children(job, 1, placement), role)["spec"]["template"]["spec"]["containers"][0]
    return str(container["image"])


def pod_spec(job: TrainingJob, role: str, **options: Any) -> Manifest:
    return dict(workload(children(job, **options), role)["spec"]["template"]["spec"])


def container(job: TrainingJob, role: str, **options: Any) -> Manifest:
    return dict(pod_spec(job, role, **options)["containers"][0])


def test_the_children_of_a_job() -> None:
    assert [(child["kind"], child["metadata"]["name"]) for child in children(make_job())] == [
        ("ConfigMap", "pong-config"),
        ("Service", "pong-learner"),
        ("NetworkPolicy", "pong"),
        ("PodDisruptionBudget", "pong-learner"),
        ("Job", "pong-learner"),
        ("Deployment", "pong-simulator"),
    ]


def test_every_child_is_in_the_jobs_namespace_and_goes_with_the_job() -> None:
    for manifest in children(make_job()):
        assert manifest["metadata"]["namespace"] == "games"
        assert [owner["uid"] for owner in manifest["metadata"]["ownerReferences"]] == [UID]
        assert manifest["metadata"]["labels"]["stepstream.dev/job"] == "pong"


def test_a_job_without_a_uid_has_children_without_owner() -> None:
    assert "ownerReferences" not in children(make_job(uid=""))[0]["metadata"]


def test_planning_twice_gives_the_same() -> None:
    assert children(make_job()) == children(make_job())


def test_a_suspended_job_keeps_all_but_its_pods() -> None:
    suspended = children(make_job({"suspend": True}))
    assert "Job" not in [child["kind"] for child in suspended]
    assert suspended[-1]["spec"]["replicas"] == 0


def test_a_new_attempt_or_another_number_of_simulators_touches_no_simulator_pod() -> None:
    before = workload(children(make_job()), SIMULATOR)
    after = workload(children(make_job({"simulators": {"replicas": 3}}), attempt=7), SIMULATOR)
    assert after["spec"].pop("replicas") == 3
    assert before["spec"].pop("replicas") == 8
    assert before == after


def test_the_number_of_simulators_touches_no_learner() -> None:
    assert child(make_job(), "Job") == child(make_job(), "Job", simulators=3)


def test_the_number_that_the_operator_chose_is_what_learners_expect(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(child(make_job(), "ConfigMap", simulators=3)["data"]["job.json"])
    assert load_trainer_config(path).simulators.replicas == 3


def test_the_attempt_is_on_the_learners_job_its_pods_and_in_their_environment() -> None:
    job = child(make_job(), "Job", attempt=7)
    template = job["spec"]["template"]
    assert job["metadata"]["labels"][ATTEMPT_LABEL] == template["metadata"]["labels"][ATTEMPT_LABEL] == "7"
    assert {"name": contract.ATTEMPT, "value": "7"} in template["spec"]["containers"][0]["env"]


def test_only_failures_that_are_nobody_elses_fault_count() -> None:
    policy = child(make_job(), "Job")["spec"]["podFailurePolicy"]["rules"]
    assert [(rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in policy] == [
        ("FailJob", [contract.EXIT_INVALID]),
        ("Ignore", None),
        ("Ignore", [contract.EXIT_RESUME]),
    ]
    assert policy[1]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_a_learners_idle_threads_leave_the_cores_to_the_emulators_unless_the_job_says_otherwise() -> None:
    name, count = contract.SPIN
    template = {"spec": {"containers": [{"name": "learner", "env": [{"name": name, "value": "1"}]}]}}
    for job, expected in [(make_job(), count), (make_job({"learners": {"template": template}}), "1")]:
        assert process(workload(local_children(job), LEARNER), pod_name="l").environment[name] == expected


def test_simulators_dial_a_host_name_that_outlives_attempts() -> None:
    environment = {item["name"]: item.get("value") for item in container(make_job(), SIMULATOR)["env"]}
    assert environment[contract.LEARNER] == "dns:///pong-learner-{rank}.pong-learner.games.svc:7070"
    assert child(make_job(), "Service")["metadata"]["name"] == pod_spec(make_job(), LEARNER)["subdomain"]


def rendezvous_of(job: TrainingJob) -> tuple[str | None, list[str], list[str]]:
    """Where its learners meet, and the ports of their container and of their Service."""
    learner = container(job, LEARNER)
    environment = {item["name"]: item.get("value") for item in learner["env"]}
    ports = ([port["name"] for port in source["ports"]] for source in (learner, child(job, "Service")["spec"]))
    return environment.get(contract.RENDEZVOUS), *ports


def test_several_learners_meet_at_rank_0_and_a_lone_one_meets_nobody() -> None:
    several = ["stream", "http", "rendezvous"]
    address = "pong-learner-0.pong-learner.games.svc:7071"
    assert rendezvous_of(make_job({"learners": {"replicas": 2}})) == (address, several, several)
    assert rendezvous_of(make_job()) == (None, several[:2], several[:2])


@pytest.mark.parametrize(
    ("replicas", "mode", "limits"),
    [
        (1, "Async", {"backoffLimit": 0}),
        (2, "Sync", {"backoffLimit": 0}),
        (2, "Auto", {"backoffLimit": 0}),
        (2, "Async", {"backoffLimitPerIndex": 3, "maxFailedIndexes": 0}),
    ],
)
def test_learners_that_share_a_store_are_replaced_one_by_one_and_others_together(
    replicas: int, mode: str, limits: dict[str, int]
) -> None:
    spec = child(make_job({"learners": {"replicas": replicas}, "mode": mode}), "Job")["spec"]
    said = {name: spec[name] for name in ("backoffLimit", "backoffLimitPerIndex", "maxFailedIndexes") if name in spec}
    assert said == limits


@pytest.mark.parametrize("role", [LEARNER, SIMULATOR])
def test_pods_meet_the_restricted_security_level(role: str) -> None:
    spec = pod_spec(make_job(), role)
    context = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)


def test_an_autoscaler_must_not_evict_learners() -> None:
    annotations = child(make_job(), "Job")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_streams_reach_learners_from_their_own_simulators_only() -> None:
    first, *_, last = child(make_job(), "NetworkPolicy")["spec"]["ingress"]
    labels = {"stepstream.dev/job": "pong", "stepstream.dev/role": "simulator"}
    assert first["from"] == [{"podSelector": {"matchLabels": labels}}]
    assert [port["port"] for port in first["ports"]] == [contract.STREAM_PORT]
    assert [port["port"] for port in last["ports"]] == [contract.HTTP_PORT]


def test_a_pod_sees_its_own_roles_certificate_only() -> None:
    volume = next(volume for volume in pod_spec(make_job(), SIMULATOR)["volumes"] if volume["name"] == "tls")
    assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt", "simulator.crt", "simulator.key"]


def test_without_encryption_nothing_speaks_of_it() -> None:
    spec = pod_spec(make_job(), LEARNER, tls=False)
    assert "tls" not in [volume["name"] for volume in spec["volumes"]]
    assert contract.TLS_DIR not in [item["name"] for item in spec["containers"][0]["env"]]


@pytest.mark.parametrize(
    ("checkpoint", "source"),
    [
        ({}, {"emptyDir": {}}),
        ({"volume": {"claimName": "runs"}}, {"persistentVolumeClaim": {"claimName": "runs"}}),
        ({"volume": {"claimTemplate": {"size": "1Gi"}}}, {"persistentVolumeClaim": {"claimName": "pong-checkpoints"}}),
        ({"volume": {"source": {"nfs": {"server": "f", "path": "/"}}}}, {"nfs": {"server": "f", "path": "/"}}),
    ],
)
def test_checkpoints_lie_on_the_volume_that_the_job_names(checkpoint: dict[str, Any], source: dict[str, Any]) -> None:
    job = make_job({"checkpoint": checkpoint})
    assert {"name": "run", **source} in pod_spec(job, LEARNER)["volumes"]


def test_a_claim_is_made_from_its_template() -> None:
    template = {"size": "1Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]}
    claim = child(make_job({"checkpoint": {"volume": {"claimTemplate": template}}}), "PersistentVolumeClaim")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "fast",
    }


def test_a_queue_is_told_to_both_workloads_and_holds_the_learners_back() -> None:
    queued = make_job(labels={"kueue.x-k8s.io/queue-name": "team"})
    for role in (LEARNER, SIMULATOR):
        assert workload(children(queued), role)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert child(queued, "Job")["spec"]["suspend"] is True
    assert "suspend" not in child(make_job(), "Job")["spec"]


def test_the_overlay_is_merged_by_name_and_cannot_take_away_what_selects_pods() -> None:
    overlay = {
        "metadata": {"labels": {"team": "a", "stepstream.dev/job": "mine"}},
        "spec": {
            "nodeSelector": {"pool": "gpu"},
            "containers": [{"name": "learner", "env": [{"name": "X", "value": "1"}]}, {"name": "side"}],
        },
    }
    template = child(make_job({"learners": {"template": overlay}}), "Job")["spec"]["template"]
    own, side = template["spec"]["containers"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["labels"]["stepstream.dev/job"] == "pong"
    assert own["command"] == list(contract.LEARNER_COMMAND)
    assert own["env"][-1] == {"name": "X", "value": "1"}
    assert side == {"name": "side"}
    assert template["spec"]["nodeSelector"] == {"pool": "gpu"}


@pytest.mark.parametrize(
    ("base", "overlay", "result"),
    [
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        ({"a": 1}, {"a": None}, {"a": 1}),
        (
            {"env": [{"name": "X", "value": "1"}]},
            {"env": [{"name": "X", "valueFrom": {}}]},
            {"env": [{"name": "X", "valueFrom": {}}]},
        ),
        ({"volumeMounts": [{"mountPath": "/a"}]}, {"volumeMounts": [{}]}, {"volumeMounts": [{"mountPath": "/a"}, {}]}),
    ],
)
def test_merging_an_overlay(base: dict[str, Any], overlay: dict[str, Any], result: dict[str, Any]) -> None:
    assert merged(base, overlay) == result


def test_one_machine_runs_the_commands_of_the_clusters_containers() -> None:
    job = make_job()
    for role in (LEARNER, SIMULATOR):
        run = process(workload(local_children(job), role), pod_name=f"pong-{role}-0")
        assert list(run.command) == container(job, role)["command"]
        assert set(run.environment) == {item["name"] for item in container(job, role, tls=False)["env"]}


def test_addresses_and_paths_of_processes_are_those_of_their_pods() -> None:
    learner = process(workload(local_children(make_job()), LEARNER), pod_name="pong-learner-0", index=0)
    simulator = process(workload(local_children(make_job()), SIMULATOR), pod_name="pong-simulator-3")
    assert learner.environment[contract.LISTEN] == "unix:/tmp/s/learner-0.sock"
    assert simulator.environment[contract.LEARNER] == "unix:/tmp/s/learner-{rank}.sock"
    assert simulator.environment[contract.SIMULATOR] == "pong-simulator-3"
    assert simulator.environment[contract.HTTP] == "unix:/tmp/s/pong-simulator-3-http.sock"
    assert learner.environment[contract.CONFIG] in files(local_children(make_job()))


def test_streams_may_take_tcp_on_one_machine() -> None:
    children_over_tcp = local_children(make_job(), stream_port=7171)
    learner = process(workload(children_over_tcp, LEARNER), pod_name="l")
    simulator = process(workload(children_over_tcp, SIMULATOR), pod_name="s")
    assert learner.environment[contract.LISTEN] == "127.0.0.1:{7171+rank}"
    assert simulator.environment[contract.LEARNER] == "dns:///127.0.0.1:{7171+rank}"


@pytest.mark.parametrize(
    ("value", "expanded"),
    [("$(STEPSTREAM_RANK)!", "0!"), ("$$(STEPSTREAM_RANK)", "$(STEPSTREAM_RANK)"), ("$(NONE) $5", "$(NONE) $5")],
)
def test_variables_refer_to_earlier_ones_as_in_kubernetes(value: str, expanded: str) -> None:
    overlay = {"spec": {"containers": [{"name": "learner", "env": [{"name": "X", "value": value}]}]}}
    job = make_job({"learners": {"template": overlay}})
    assert process(workload(local_children(job), LEARNER), pod_name="l").environment["X"] == expanded


def test_a_variable_that_only_a_cluster_can_fill_is_refused_on_one_machine() -> None:
    secret = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    job = make_job({"learners": {"template": {"spec": {"containers": [{"name": "learner", "env": [secret]}]}}}})
    with pytest.raises(ConfigurationErrors, match="env X: needs a cluster"):
        process(workload(local_children(job), LEARNER), pod_name="l")


def test_the_longest_name_still_makes_host_names() -> None:
    job = make_job({"learners": {"replicas": 512}}, name="p" * 40)
    assert len(child(job, "Job")["metadata"]["name"] + "-511") <= 63


def test_images_are_the_jobs_own_or_the_charts() -> None:
    own = make_job({"image": "own:1"})
    assert [image(job, role) for job in (make_job(), own) for role in (LEARNER, SIMULATOR)] == [
        "chart:l",
        "chart:s",
        "own:1",
        "own:1",
    ]


def test_simulators_fit_the_learners_that_run_already() -> None:
    own = make_job({"image": "own:2"})
    assert image(own, SIMULATOR, simulator_image="own:1") == "own:1"
    recorded = child(own, "Job")["metadata"]["annotations"]["stepstream.dev/simulator-image"]
    assert recorded == "own:2"


@pytest.mark.parametrize("role", [LEARNER, SIMULATOR])
def test_a_container_is_started_anew_once_it_is_unhealthy_for_a_minute_and_never_for_being_unready(role: str) -> None:
    spec = container(make_job(), role)
    live, ready = spec["livenessProbe"], spec["readinessProbe"]
    assert (live["httpGet"]["path"], ready["httpGet"]["path"]) == ("/healthz", "/readyz")
    assert live["periodSeconds"] * live["failureThreshold"] == 60
