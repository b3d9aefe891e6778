"""A job on a cluster whose pods run, seen as a user sees it: by kubectl alone."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemons import eventually
from tests.support.kubectl import Kubectl

Object = dict[str, Any]


class NoAnswer(AssertionError):
    """kubectl said something else than was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RealJob:
    kubectl: Kubectl
    name: str

    def apply(self, manifest: Object) -> None:
        said = self.kubectl("apply", "-f", "-", given=manifest)
        assert said == f"trainingjob.stepstream.dev/{self.name} created", said

    def reaches(self, status: str, timeout_seconds: float, **cells: str) -> None:
        wanted = {"STATUS": status, **cells}
        self.kubectl.comes_to_show("tjob", self.name, cells=wanted, timeout_seconds=timeout_seconds)

    def is_served(self, manifest: Object, timeout_seconds: float = 240) -> None:
        """Waits until it is at work with every simulator that the manifest asks for."""
        wanted = manifest["spec"]["simulators"]["replicas"]
        self.reaches("Running", timeout_seconds, SIMULATORS=f"{wanted}/{wanted}")

    def get(self) -> Object:
        return self._json("get", "tjob", self.name, "-o", "json")

    def pods(self, role: str) -> list[Object]:
        """Of the job's attempt now and earlier ones, those that are going included."""
        selector = f"stepstream.dev/job={self.name},stepstream.dev/role={role}"
        return list(self._json("get", "pods", "-l", selector, "-o", "json")["items"])

    def ready_pods(self, role: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods(role) if _is_ready(pod)]

    def learner(self) -> str:
        """The pod of rank 0 that is at work; waits for it."""
        eventually(lambda: self.ready_pods("learner"), timeout_seconds=180, what="a learner is ready")
        return self.ready_pods("learner")[0]

    def address(self, learner: str) -> str:
        return str(self._learner(learner)["status"]["podIP"])

    def container(self, simulator: str) -> str:
        """The id of its container."""
        found = next(pod for pod in self.pods("simulator") if pod["metadata"]["name"] == simulator)
        return str(found["status"]["containerStatuses"][0]["containerID"]).rpartition("/")[2]

    def uid(self, learner: str) -> str:
        """Another pod may have its name."""
        return str(self._learner(learner)["metadata"]["uid"])

    def log(self, pod: str, *arguments: str) -> list[Object]:
        """Every line of a pod's log that is ours: gRPC's own are no JSON."""
        return log_lines(self.kubectl("logs", pod, *arguments))

    def metrics(self, pod: str) -> dict[str, float]:
        """`name{label=value}` -> value, by the API server's proxy. Raises NoAnswer."""
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/pods/{pod}:9090/proxy/metrics"
        text = self.kubectl("get", "--raw", path)
        if not text.startswith("# HELP"):
            raise NoAnswer(text)
        families = text_string_to_metric_families(text + "\n")
        return {_named(sample.name, sample.labels): sample.value for family in families for sample in family.samples}

    def steps(self, pod: str) -> float:
        """Since the job began."""
        return self.metrics(pod)["stepstream_learner_job_steps"]

    def _learner(self, pod: str) -> Object:
        return next(each for each in self.pods("learner") if each["metadata"]["name"] == pod)

    def _json(self, *arguments: str) -> Object:
        text = self.kubectl(*arguments)
        try:
            found: Object = json.loads(text)
        except ValueError:
            raise NoAnswer(text) from None
        return found


class LastWords:
    """What a pod logs from now on, to its end."""

    def __init__(self, job: RealJob, pod: str) -> None:
        command = job.kubectl.command("logs", "--follow", pod)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> list[Object]:
        text, _ = self._process.communicate(timeout=180)
        return log_lines(text)


def events(lines: list[Object], event: str) -> list[Object]:
    return [line for line in lines if line["event"] == event]


def resumed(job: RealJob, than: str) -> Object:
    """What the learner after `than` says of where it goes on. Simulators must have come before it does."""
    found: list[Object] = []

    def goes_on() -> bool:
        pods = [pod["metadata"] for pod in job.pods("learner") if pod["metadata"]["uid"] != than]
        found[:] = [line for pod in pods for line in events(job.log(pod["name"]), "resumed")]
        return bool(found)

    eventually(goes_on, timeout_seconds=240, what="another learner goes on", interval_seconds=0.2)
    return found[0]


def log_lines(text: str) -> list[Object]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _named(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={value}' for key, value in labels.items())}}}" if labels else name


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
