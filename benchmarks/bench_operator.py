"""What the operator costs at scale: a real control plane, kwok nodes, the operator as a process of its own.

    python -m benchmarks.bench_operator [--quick]

Two loads: many jobs with 16 simulators each, and very many with one. Measured from outside: from a job's creation (the
API server's answer) to its learners' Job (a watch of our own), API requests, CPU seconds and memory of the process, and
what it asks for once everything is settled.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.record import Cell, Record, Table, describe_machine
from stepstream_operator.api.crd import crd
from stepstream_operator.runtime.client import Client, load_configuration
from stepstream_operator.runtime.errors import RequestFailed
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS, TRAINING_JOBS
from tests.support.cluster_fixtures import add_nodes, create_namespace, wait_for_service_account
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually, free_ports
from tests.support.running_operator import CRDS, manifest

ROOT = Path(__file__).parents[1]
POD_ROOM = 250
IDLE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    jobs: int
    simulators: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Latencies in seconds from creation to the learners' Job; requests without watches."""

    jobs: int
    simulators: int
    settled_seconds: float
    latency_p50: float
    latency_p99: float
    requests_per_job: float
    cpu_seconds: float
    resident_mib: float
    idle_requests_per_minute: float
    idle_cpu_seconds_per_minute: float


class OperatorProcess:
    """`python -m stepstream_operator` and its accounts."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        (port,) = free_ports(1)
        self._url = f"http://127.0.0.1:{port}"
        environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
        environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer"))
        flags = ["--watch-namespace", namespace, "--listen", f"127.0.0.1:{port}", "--log-level", "warning"]
        command = [sys.executable, "-m", "stepstream_operator", *flags]
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        eventually(self._ready, timeout_seconds=60, what="the operator is ready")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def requests(self) -> float:
        """API requests so far, watches left out."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counted = [line for line in lines if line.startswith("stepstream_operator_api_requests_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted if 'verb="watch"' not in line)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class LearnerJobTimes:
    """When each learners' Job was first seen, by job name and this machine's monotonic clock."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self.seen: dict[str, float] = {}
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "3600"}
        while True:
            try:
                for event in self._client.watch(JOBS, self._namespace, query, read_timeout_seconds=3600):
                    name = event["object"]["metadata"]["name"].removesuffix("-learner")
                    self.seen.setdefault(name, time.monotonic())
            except RequestFailed:
                continue


def measure(cluster: ControlPlane, admin: Client, load: Load) -> Cost:
    namespace = create_namespace(admin)
    operator = OperatorProcess(cluster, namespace)
    times = LearnerJobTimes(admin, namespace)
    begun, before = time.monotonic(), operator.requests()
    created: dict[str, float] = {}
    for number in range(load.jobs):
        job = manifest(f"job-{number}", simulators={"replicas": load.simulators})
        admin.create(TRAINING_JOBS, namespace, job)
        created[f"job-{number}"] = time.monotonic()
    settle(admin, namespace, load)
    settled, requests = time.monotonic() - begun, operator.requests() - before
    latencies = sorted(times.seen[name] - since for name, since in created.items())
    cpu, resident = operator.cpu_seconds(), operator.resident_mib()
    idle_requests, idle_cpu = idle(operator)
    operator.stop()
    return Cost(
        jobs=load.jobs,
        simulators=load.simulators,
        settled_seconds=round(settled, 1),
        latency_p50=round(latencies[len(latencies) // 2], 3),
        latency_p99=round(latencies[int(len(latencies) * 0.99)], 3),
        requests_per_job=round(requests / load.jobs, 1),
        cpu_seconds=round(cpu, 1),
        resident_mib=round(resident, 1),
        idle_requests_per_minute=round(idle_requests, 1),
        idle_cpu_seconds_per_minute=round(idle_cpu, 2),
    )


def settle(admin: Client, namespace: str, load: Load) -> None:
    """Waits until every simulator of every job is ready and every job says so."""

    def done() -> bool:
        deployments = admin.list_page(DEPLOYMENTS, namespace, {})["items"]
        ready = sum(each["status"].get("readyReplicas", 0) for each in deployments)
        if ready < load.jobs * load.simulators:
            return False
        jobs = admin.list_page(TRAINING_JOBS, namespace, {})["items"]
        return all(job["status"]["simulators"]["ready"] == load.simulators for job in jobs)

    eventually(done, timeout_seconds=1800, what="all is settled", interval_seconds=1.0)


def idle(operator: OperatorProcess) -> tuple[float, float]:
    """Requests and CPU seconds a minute while nothing happens."""
    time.sleep(5.0)
    requests, cpu = operator.requests(), operator.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    return (operator.requests() - requests) * 60 / IDLE_SECONDS, (operator.cpu_seconds() - cpu) * 60 / IDLE_SECONDS


def write(costs: list[Cost], machine: dict[str, Cell]) -> None:
    rows = [[asdict(cost)[each.name] for cost in costs] for each in fields(Cost)]
    named = [(each.name.replace("_", " "), *row) for each, row in zip(fields(Cost), rows, strict=True)]
    table = Table(
        title="Cost by load", header=("", *(f"load {number + 1}" for number in range(len(costs)))), rows=named
    )
    record = Record(
        name="operator",
        title="The operator at scale",
        settings={"idle_seconds": IDLE_SECONDS, "pods_per_node": POD_ROOM},
        machine=machine,
        tables=(table,),
        notes=(
            "Latency: from the answer to a job's creation to the first sight of its learners' Job, all jobs submitted"
            " one after another without a pause, with the control plane on the same cores.",
            "kwok's pods have no network, so learners do not answer: idle requests leave out progress, by design.",
        ),
    )
    print(record.write())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load")
    quick = parser.parse_args().quick
    loads = [Load(jobs=20, simulators=16), Load(jobs=100, simulators=1)]
    if not quick:
        loads = [Load(jobs=200, simulators=16), Load(jobs=1000, simulators=1)]
    costs, machine = [], describe_machine()
    for load in loads:
        cluster = ControlPlane()
        try:
            cluster.start()
            admin = Client(load_configuration(str(cluster.kubeconfig)))
            wait_for_service_account(admin, "default")
            add_nodes(admin, load.jobs * (load.simulators + 1) // POD_ROOM + 2)
            admin.apply(CRDS, "", crd())
            costs.append(measure(cluster, admin, load))
            print(costs[-1], flush=True)
        finally:
            cluster.stop()
    write(costs, machine)


if __name__ == "__main__":
    main()
