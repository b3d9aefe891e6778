"""The alerts of the chart fire once, each by a trouble made on a cluster whose pods really run, and stop after it.

The rules are the chart's, with every duration in them a sixtieth (minutes are seconds, an hour is a minute), evaluated
every second on what is scraped as often; thresholds are the chart's values. One trouble is not real: nothing makes an
operator hang for ever, so a pod tells the metrics of one that does.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from tests.support.cluster_prometheus import configuration_of, watching
from tests.support.daemons import eventually
from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.monitored_jobs import PPO, REFUSED_STREAMS, RESOURCES, SLOTS, cartpole, learner_address
from tests.support.own_environment import own_environment
from tests.support.prometheus import Prometheus
from tests.support.real_cluster import RealCluster, released, rights_withdrawn
from tests.support.real_job import Object, RealJob

PART = 60
"""What durations are divided by."""
CHECKPOINT_TOO_OLD_SECONDS = 60
"""The least that the chart takes; ages are compared with it as they are."""
SIMULATORS = 2
FIRES_SECONDS = 90
STOPS_SECONDS = 90

NO_CHECKPOINT = "StepstreamCheckpointTooOld, none yet"
EVERY_ALERT = {
    "StepstreamLearnerStarved",
    "StepstreamNoSteps",
    "StepstreamReturnsCollapsed",
    "StepstreamCheckpointTooOld",
    NO_CHECKPOINT,
    "StepstreamCheckpointFailing",
    "StepstreamSlotsUnserved",
    "StepstreamSimulatorsCrashLooping",
    "StepstreamStreamsRefused",
    "StepstreamRebuiltDifferently",
    "StepstreamOperatorDown",
    "StepstreamOperatorStuck",
    "StepstreamOperatorErrors",
}
WHIM = """
import gymnasium, numpy, os

class Whim(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (4,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)
    left = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 500
        return self.seen(), {}

    def step(self, action):
        self.left -= 1
        return self.seen(), 1.0, self.left == 0, False, {}

    def seen(self):
        return numpy.frombuffer(os.urandom(4), numpy.uint8).astype(numpy.float32)
"""
"""An environment that no seed determines."""

STUCK = """
import http.server

class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        for series in ("leader 1", "queue_depth 3", "reconcile_seconds_count 300"):
            self.wfile.write(f"stepstream_operator_{series}\\n".encode())

http.server.HTTPServer(("", 8080), Metrics).serve_forever()
"""

pytestmark = pytest.mark.timeout(600)

_RANGE = re.compile(r"\[(\d+)([smh])\]")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def divided(rules: str) -> str:
    """The rules with every duration a sixtieth: their ranges, and how long they must hold."""
    said: dict[str, Any] = yaml.safe_load(rules)
    for group in said["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(lambda match: f"[{_sixtieth(match[1], match[2])}]", rule["expr"])
            if "for" in rule:
                rule["for"] = _sixtieth(rule["for"][:-1], rule["for"][-1])
    return yaml.safe_dump(said, sort_keys=False)


def _sixtieth(number: str, unit: str) -> str:
    return f"{max(1, int(number) * _SECONDS[unit] // PART)}s"


def by_the_second(configuration: dict[str, str]) -> dict[str, str]:
    """Scraped every second already, by the chart's values; rules are evaluated as often."""
    said = yaml.safe_load(configuration["prometheus.yaml"])
    said["global"]["evaluation_interval"] = "1s"
    return {"prometheus.yaml": yaml.safe_dump(said), "rules.yaml": divided(configuration["rules.yaml"])}


@pytest.fixture(scope="module")
def release(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    every_second = {"interval": "1s", "scrapeTimeout": "1s"}
    values = {
        "prometheusConfig": {"enabled": True},
        "podMonitor": every_second,
        "serviceMonitor": every_second,
        "prometheusRule": {"checkpointAgeSeconds": CHECKPOINT_TOO_OLD_SECONDS, "simulatorRestarts": 1},
    }
    with released(cluster, tmp_path_factory.mktemp("helm"), **values) as helm:
        yield helm


@pytest.fixture(scope="module")
def operator(cluster: RealCluster, release: Helm) -> Kubectl:
    return Kubectl(kubeconfig=cluster.kubeconfig, namespace=release.namespace)


@pytest.fixture(scope="module")
def alerts(cluster: RealCluster, release: Helm) -> Iterator[Alerts]:
    with watching(cluster, by_the_second(configuration_of(cluster, release))) as prometheus:
        yield Alerts(prometheus)


class Alerts:
    """What fires, by the name of its rule: two have one name, and are told apart here."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self.fired: set[str] = set()

    def firing(self, **labels: str) -> set[str]:
        return {
            _name(rule)
            for rule in self._prometheus.rules()
            for alert in rule["alerts"]
            if alert["state"] == "firing" and labels.items() <= alert["labels"].items()
        }

    def names(self) -> set[str]:
        return {_name(rule) for rule in self._prometheus.rules()}

    def fire(self, *names: str, **labels: str) -> float:
        """Waits until these do; returns the seconds it took."""
        return self._wait(lambda: set(names) <= self.firing(**labels), FIRES_SECONDS, f"{names} fire", labels)

    def stop(self, *names: str, **labels: str) -> float:
        taken = self._wait(
            lambda: not set(names) & self.firing(**labels), STOPS_SECONDS, f"{names} fire no more", labels
        )
        self.fired |= set(names)
        return taken

    def _wait(self, holds: Callable[[], bool], timeout_seconds: float, what: str, labels: dict[str, str]) -> float:
        begun = time.monotonic()
        try:
            eventually(holds, timeout_seconds=timeout_seconds, what=what, interval_seconds=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}; {sorted(self.firing(**labels))} do") from error
        return time.monotonic() - begun


def _name(rule: dict[str, Any]) -> str:
    age_is_nan = "!=" in rule["query"]
    return NO_CHECKPOINT if age_is_nan else str(rule["name"])


@pytest.fixture
def told(request: pytest.FixtureRequest, tell_at_the_end: TellAtTheEnd) -> Callable[..., None]:
    def tell(fired: float, stopped: float, *names: str) -> None:
        tell_at_the_end(f"{', '.join(names)}: fired {fired:.0f} s after the trouble began, stopped after {stopped:.0f}")

    return tell


@contextmanager
def trained(user: Kubectl, manifest: Object) -> Iterator[RealJob]:
    job = RealJob(kubectl=user, name=manifest["metadata"]["name"])
    job.apply(manifest)
    try:
        job.is_served(manifest)
        yield job
    finally:
        user("delete", "tjob", job.name, "--timeout=110s")


@pytest.fixture(scope="module")
def steady(user: Kubectl, alerts: Alerts) -> Iterator[RealJob]:
    """A job without troubles but those that a test makes, and takes away again."""
    manifest = cartpole("steady", simulators={"replicas": SIMULATORS, "resources": RESOURCES})
    with trained(user, manifest) as job:
        yield job


def test_nothing_fires_of_a_job_without_troubles(alerts: Alerts, steady: RealJob) -> None:
    seen = job_steps(steady)
    eventually(lambda: not alerts.firing(training_job=steady.name), timeout_seconds=60, what="no alert of its start")
    eventually(lambda: job_steps(steady) > seen, timeout_seconds=30, what="it steps")
    assert alerts.firing() == set()


def job_steps(job: RealJob) -> float:
    return job.steps(job.learner())


def test_checkpoints_that_cannot_be_written(alerts: Alerts, steady: RealJob, told: Callable[..., None]) -> None:
    where = 'echo "$STEPSTREAM_RUN_DIR"'
    learner = steady.learner()
    folder = steady.kubectl("exec", learner, "--", "sh", "-c", where).strip()
    steady.kubectl("exec", learner, "--", "chmod", "-R", "a-w", folder)
    fired = alerts.fire("StepstreamCheckpointFailing", training_job=steady.name)
    steady.kubectl("exec", learner, "--", "chmod", "-R", "u+w", folder)
    told(fired, alerts.stop("StepstreamCheckpointFailing", training_job=steady.name), "StepstreamCheckpointFailing")


def test_simulators_that_crash(alerts: Alerts, steady: RealJob, told: Callable[..., None]) -> None:
    for pod in steady.ready_pods("simulator"):
        steady.kubectl("exec", pod, "--", "python", "-c", "import os; os.kill(1, 15)")
    name = "StepstreamSimulatorsCrashLooping"
    fired = alerts.fire(name, training_job=steady.name)
    told(fired, alerts.stop(name, training_job=steady.name), name)


def test_simulators_of_another_job(alerts: Alerts, steady: RealJob, told: Callable[..., None]) -> None:
    eventually(lambda: steady.ready_pods("simulator"), timeout_seconds=60, what="a simulator is ready")
    stranger, name = steady.ready_pods("simulator")[0], "StepstreamStreamsRefused"
    address = learner_address(steady.name, steady.kubectl.namespace)
    said = steady.kubectl("exec", stranger, "--", "python", "-c", REFUSED_STREAMS, address, "50")
    assert set(said.split()) == {"FAILED_PRECONDITION"}
    fired = alerts.fire(name, training_job=steady.name, reason="FAILED_PRECONDITION")
    told(fired, alerts.stop(name, training_job=steady.name), name)


def test_no_operator_and_no_simulators(
    alerts: Alerts, steady: RealJob, operator: Kubectl, told: Callable[..., None]
) -> None:
    of_job = ("StepstreamNoSteps", "StepstreamSlotsUnserved", "StepstreamLearnerStarved")
    try:
        operator("scale", "deployment/stepstream", "--replicas=0")
        gone = "the operator is gone"
        eventually(lambda: "No resources found" in operator("get", "pods"), timeout_seconds=60, what=gone)
        steady.kubectl("scale", "deployment", f"{steady.name}-simulator", "--replicas=0")
        fired = max(alerts.fire(*of_job, training_job=steady.name), alerts.fire("StepstreamOperatorDown"))
    finally:
        operator("scale", "deployment/stepstream", "--replicas=1")  # it brings the simulators back
    operator("rollout", "status", "deployment/stepstream", "--timeout=60s")
    stopped = max(alerts.stop("StepstreamOperatorDown"), alerts.stop(*of_job, training_job=steady.name))
    told(fired, stopped, "StepstreamOperatorDown", *of_job)


def test_an_operator_that_may_do_nothing(
    alerts: Alerts, cluster: RealCluster, user: Kubectl, told: Callable[..., None]
) -> None:
    name = "StepstreamOperatorErrors"
    job = RealJob(kubectl=user, name="unwritable")
    with rights_withdrawn(cluster):
        job.apply(cartpole(job.name))
        fired = alerts.fire(name, kind="permanent")
    stopped = alerts.stop(name)
    user("delete", "tjob", job.name, "--timeout=110s")
    told(fired, stopped, name)


def test_an_operator_that_hangs_as_its_metrics_tell(
    alerts: Alerts, cluster: RealCluster, operator: Kubectl, told: Callable[..., None]
) -> None:
    found = json.loads(operator("get", "deployment", "stepstream", "-o", "json"))["spec"]
    container = found["template"]["spec"]["containers"][0]
    kept = {name: container[name] for name in ("image", "imagePullPolicy", "ports", "securityContext")}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stuck", "labels": found["selector"]["matchLabels"]},
        "spec": {
            "containers": [{"name": "operator", "command": ["python", "-c", STUCK], **kept}],
            "securityContext": found["template"]["spec"]["securityContext"],
            "terminationGracePeriodSeconds": 0,
        },
    }
    # Without the hash of the Deployment's ReplicaSet it is nobody's, and found by Prometheus all the same.
    assert operator("create", "-f", "-", given=pod) == "pod/stuck created"
    fired = alerts.fire("StepstreamOperatorStuck", pod="stuck")
    operator("delete", "pod", "stuck")
    told(fired, alerts.stop("StepstreamOperatorStuck"), "StepstreamOperatorStuck")


def test_checkpoints_that_are_rarer_than_they_should_be(
    alerts: Alerts, user: Kubectl, told: Callable[..., None]
) -> None:
    name = "StepstreamCheckpointTooOld"
    seldom = cartpole("seldom", checkpoint={"intervalSeconds": CHECKPOINT_TOO_OLD_SECONDS + 15})
    with trained(user, seldom) as job:
        told(
            alerts.fire(NO_CHECKPOINT, training_job=job.name),
            alerts.stop(NO_CHECKPOINT, training_job=job.name),
            NO_CHECKPOINT,
        )
        told(alerts.fire(name, training_job=job.name), alerts.stop(name, training_job=job.name), name)


def test_a_job_that_unlearns(alerts: Alerts, user: Kubectl, told: Callable[..., None]) -> None:
    """By a learning rate that is a thousand times too high. Its first update comes after some whole episodes."""
    name = "StepstreamReturnsCollapsed"
    far_too_fast = PPO["parameters"] | {"learningRate": 1.0, "horizon": 2048, "maxGradNorm": 1000.0}
    unlearns = cartpole(
        "unlearns",
        algorithm=PPO | {"parameters": far_too_fast},
        stopWhen={"meanReturn": "100000", "episodes": 50},
        learners={"environments": SLOTS, "resources": RESOURCES},
    )
    with trained(user, unlearns) as job:
        fired = alerts.fire(name, training_job=job.name)
    told(fired, alerts.stop(name, training_job=job.name), name)


def test_an_environment_that_is_wrongly_called_deterministic(
    alerts: Alerts, user: Kubectl, told: Callable[..., None]
) -> None:
    """Its simulator is lost, and the episodes cannot be rebuilt."""
    name = "StepstreamRebuiltDifferently"
    entry = {"id": "Whim-v0", "entryPoint": "whims:Whim", "deterministic": True}
    with own_environment(user, "whims", WHIM) as template:
        simulators = {"replicas": 1, "resources": RESOURCES, "template": template}
        with trained(user, cartpole("whimsical", environment=entry, simulators=simulators)) as job:
            seen = job_steps(job)
            eventually(lambda: job_steps(job) > seen, timeout_seconds=30, what="it steps")
            user("delete", "pod", job.ready_pods("simulator")[0], "--wait=false")
            fired = alerts.fire(name, training_job=job.name)
            told(fired, alerts.stop(name, training_job=job.name), name)


def test_that_was_every_alert(alerts: Alerts) -> None:
    assert alerts.names() == EVERY_ALERT
    assert alerts.fired == EVERY_ALERT
