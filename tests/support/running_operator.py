"""Operators inside the test's own process, against the real API server; pods' ends and learners' answers by hand."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import kubernetes.client

from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children.names import JOB_LABEL, ROLE_LABEL
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.runtime.resources import EVENTS, JOBS, PODS, TRAINING_JOBS, Object, Resource
from stepstream_operator.settings import OperatorSettings
from stepstream_operator.status import previous_status
from tests.support.daemons import eventually
from tests.support.fault_proxy import FaultProxy

HELD = "tests.stepstream.dev/held"
CRDS = Resource(group="apiextensions.k8s.io", version="v1", plural="customresourcedefinitions", kind="CRD")


def quick_settings(namespace: str, **changes: Any) -> OperatorSettings:
    """One namespace, no election, learners asked often."""
    return OperatorSettings(**({"namespaces": (namespace,), "workers": 2, "poll_seconds": 0.3} | changes))


class FakeLearners:
    """A real HTTP server in place of each learner's own, since kwok's pods have no network."""

    def __init__(self) -> None:
        self._answers: dict[str, Mapping[str, Any]] = {}
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._lock = threading.Lock()

    def address(self, pod: Mapping[str, Any]) -> str | None:
        """A StatusSource: where the learner of this pod answers. Nobody answers well before `answer`."""
        uid = pod["metadata"]["uid"]
        with self._lock:
            if uid not in self._servers:
                self._servers[uid] = self._serve(uid)
            return f"127.0.0.1:{self._servers[uid].server_address[1]}"

    def answer(self, pod: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        self._answers[pod["metadata"]["uid"]] = status

    def close(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def _serve(self, uid: str) -> ThreadingHTTPServer:
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(uid)
                body = json.dumps(answer).encode()
                self.send_response(200 if answer is not None else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nobody reads it."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


def learner_status(**changes: Any) -> dict[str, Any]:
    """A learner's answer to /status."""
    status: dict[str, Any] = {
        "job": "pong",
        "attempt": 1,
        "rank": 0,
        "phase": "Running",
        "message": "",
        "mode": "Sync",
        "steps": 12_400_000,
        "frames": 49_600_000,
        "updates": 900,
        "stepsPerSecond": 41_200.0,
        "episodes": 100,
        "episodeReturn": 18.3,
        "episodeLength": 900.0,
        "policyLag": 0.0,
        "percent": 62,
        "estimatedRemainingSeconds": 190,
        "phaseSeconds": {},
        "slots": {"total": 64, "leased": 64, "rebuilding": 0},
        "simulators": 2,
        "waiting": {"learnerFraction": 0.02, "simulatorFraction": 0.5},
        "checkpoint": {
            "step": 12_000_000,
            "path": "checkpoints/12000000",
            "time": "2026-01-01T00:00:00Z",
            "failures": 0,
        },
        "lastUpdateTime": "2026-01-01T00:00:00Z",
    }
    return status | changes


def manifest(name: str = "pong", **spec: Any) -> Object:
    """A TrainingJob that asks for little."""
    base: Object = {
        "environment": {"id": "ALE/Pong-v5"},
        "algorithm": {"name": "PPO"},
        "stopWhen": {"meanReturn": "18"},
        "simulators": {"replicas": 2},
    }
    return {
        "apiVersion": TRAINING_JOBS.api_version,
        "kind": TRAINING_JOBS.kind,
        "metadata": {"name": name},
        "spec": base | spec,
    }


@dataclass
class Cluster:
    """One namespace seen with an administrator's eyes: what a user does, and what nodes would do."""

    admin: Client
    namespace: str
    learners: FakeLearners = field(default_factory=FakeLearners)

    def submit(self, job: Object) -> Object:
        return self.admin.create(TRAINING_JOBS, self.namespace, job)

    def edit(self, name: str, **spec: Any) -> None:
        self.admin.merge(TRAINING_JOBS, self.namespace, name, {"spec": spec})

    def job(self, name: str = "pong") -> Object | None:
        return self.admin.get(TRAINING_JOBS, self.namespace, name)

    def status(self, name: str = "pong") -> JobStatus:
        return previous_status(self.job(name) or {})

    def all(self, resource: Resource, selector: str = "") -> list[Object]:
        query = {"labelSelector": selector} if selector else {}
        return list(self.admin.list_page(resource, self.namespace, query)["items"])

    def pods(self, role: str, name: str = "pong") -> list[Object]:
        found = self.all(PODS, f"{JOB_LABEL}={name},{ROLE_LABEL}={role}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def tells(self, *reasons: str) -> None:
        """Waits for Events about TrainingJobs: each comes after the write of status that it tells of."""
        what = f"Events {reasons}"
        eventually(lambda: self.told().keys() >= {*reasons}, timeout_seconds=60, what=what)

    def told(self) -> Counter[str]:
        """Events about TrainingJobs, by reason."""
        events = self.all(EVENTS)
        return Counter(event["reason"] for event in events if event["regarding"]["kind"] == TRAINING_JOBS.kind)

    def learner_job(self, name: str = "pong") -> Object | None:
        return self.admin.get(JOBS, self.namespace, f"{name}-learner")

    def hold(self, resource: Resource, name: str) -> None:
        """From now on the object outlives its deletion, until it is released."""
        self.admin.merge(resource, self.namespace, name, {"metadata": {"finalizers": [HELD]}})

    def release(self, resource: Resource, name: str) -> None:
        self.admin.merge(resource, self.namespace, name, {"metadata": {"finalizers": None}})

    def reaches(self, phase: str, name: str = "pong", timeout_seconds: float = 60) -> None:
        what = f"{name} is {phase}"

        def reached() -> bool:
            return self.status(name).phase.value == phase

        try:
            eventually(reached, timeout_seconds=timeout_seconds, what=what)
        except AssertionError as error:
            raise AssertionError(f"{what}: {json.dumps((self.job(name) or {}).get('status'), indent=1)}") from error

    def end_learners(self, exit_code: int, log: str = "", name: str = "pong", *, disrupted: bool = False) -> None:
        """What a kubelet reports of a learner that ended."""
        for pod in self.pods("learner", name):
            self.end_pod(pod, exit_code, log, disrupted=disrupted)

    def end_pod(self, pod: Object, exit_code: int, log: str = "", *, disrupted: bool = False) -> None:
        container = pod["spec"]["containers"][0]["name"]
        ended = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "message": log,
            "startedAt": pod["status"]["startTime"],
            "finishedAt": pod["status"]["startTime"],
        }
        state = {"name": container, "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
        conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "False"}]
        conditions += [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}] * disrupted
        status = {
            "phase": "Succeeded" if exit_code == 0 else "Failed",
            "conditions": conditions,
            "containerStatuses": [state | {"state": {"terminated": ended}}],
        }
        metadata = pod["metadata"]
        try:
            self.admin.merge(PODS, self.namespace, metadata["name"], {"status": status}, subresource="status")
        except ApiError as error:
            if not error.is_not_found:
                raise

    def answer(self, **changes: Any) -> None:
        """What all learners that run now say when they are asked."""
        for pod in self.pods("learner"):
            attempt = int(pod["metadata"]["labels"]["stepstream.dev/attempt"])
            self.learners.answer(pod, learner_status(**({"attempt": attempt} | changes)))

    def train_until(self, check: Callable[[], object], *, what: str, **changes: Any) -> None:
        """As learners that train do, all say something new each time they are asked, until `check()` holds."""
        steps = itertools.count(1)

        def answered() -> object:
            self.answer(steps=next(steps), **changes)
            return check()

        eventually(answered, timeout_seconds=60, what=what)


def start_operator(cluster: Cluster, proxy: FaultProxy, **changes: Any) -> Operator:
    """An operator whose every request goes through `proxy`, working in the cluster's namespace."""
    operator = Operator(
        quick_settings(cluster.namespace, **changes),
        lambda: kubernetes.client.Configuration(host=proxy.url),
        deposed=lambda reason: proxy.cut(),
        status_source=cluster.learners.address,
    )
    operator.start()
    return operator
