"""What the operator costs at scale: a real control plane, kwok nodes, the operator as a process of its own.

    python -m benchmarks.bench_operator [--quick]

Two loads: many jobs with 16 simulators each, and very many with none or one. Measured from outside: from an event (the
API server's answer to our request) to the operator's write (a watch of our own), API requests, CPU seconds and memory
of the process, and what it asks for once everything is settled.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.record import Cell, Record, Table, describe_machine
from stepstream_operator.children.names import QUEUE_LABELS, learners_name, simulators_name
from stepstream_operator.runtime.client import Client, load_configuration
from stepstream_operator.runtime.errors import RequestFailed
from stepstream_operator.runtime.resources import DEPLOYMENTS, JOBS, TRAINING_JOBS, Object, Resource
from tests.support.cluster_fixtures import add_nodes, create_namespace, install_definition, wait_for_service_account
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.operator_process import OperatorProcess
from tests.support.running_operator import manifest

POD_ROOM = 250
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 1800.0
PROBES = 100
"""Edits, and further jobs, of which each is answered before the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """`queued_every`: of so many jobs one waits in a queue, with no simulators' Deployment and no pod; 0: none
    does."""

    jobs: int
    simulators: int
    queued_every: int = 0

    def is_queued(self, number: int) -> bool:
        return self.queued_every > 0 and number % self.queued_every == 0

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(number for number in range(self.jobs) if not self.is_queued(number))

    def job(self, number: int) -> Object:
        job = manifest(f"job-{number}", simulators={"replicas": self.simulators})
        if self.is_queued(number):
            job["metadata"]["labels"] = {QUEUE_LABELS[0]: "never"}
        return job


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Times in seconds. Requests are those to the API server, watches and the Lease left out.

    `at_once_*`: from creation to the learners' Job, all jobs submitted without a pause. `edit_*`: from a changed number
    of simulators to the changed Deployment, one by one among all these jobs. `one_more_*`: from the call that creates
    one more job among them to its learners' Job, the last of its children but the simulators' Deployment, which waits
    for learners that are ready.
    """

    jobs: int
    simulators_each: int
    pods: int
    settled_seconds: float
    at_once_p50: float
    at_once_p99: float
    edit_p50: float
    edit_p99: float
    one_more_p50: float
    one_more_p99: float
    requests_per_job: float
    cpu_seconds: float
    resident_peak_mib: float
    idle_requests_per_minute: float
    idle_lease_requests_per_minute: float
    idle_cpu_seconds_per_minute: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """By the operator's process."""

    requests: float
    lease_requests: float
    cpu_seconds: float


class Sightings:
    """When each generation of each object of a kind was first seen, by this machine's monotonic clock."""

    def __init__(self, client: Client, resource: Resource, namespace: str) -> None:
        self._client, self._resource, self._namespace = client, resource, namespace
        self._seen: dict[tuple[str, int], float] = {}
        threading.Thread(target=self._follow, daemon=True).start()

    def when(self, name: str, generation: int = 1) -> float:
        """Waits for it."""
        key = (name, generation)
        eventually(lambda: key in self._seen, timeout_seconds=600, what=f"{key}", interval_seconds=0.01)
        return self._seen[key]

    def _follow(self) -> None:
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "3600"}
        while True:
            try:
                for event in self._client.watch(self._resource, self._namespace, query, read_timeout_seconds=3600):
                    metadata = event["object"]["metadata"]
                    self._seen.setdefault((metadata["name"], metadata["generation"]), time.monotonic())
            except RequestFailed:
                continue


class Measurement:
    """One load on one cluster, from the first job to the idle minute."""

    def __init__(self, admin: Client, load: Load, operator: OperatorProcess, namespace: str) -> None:
        self._admin, self._load, self._operator, self._namespace = admin, load, operator, namespace
        self._learners = Sightings(admin, JOBS, namespace)
        self._simulators = Sightings(admin, DEPLOYMENTS, namespace)

    def cost(self) -> Cost:
        load, before, begun = self._load, self._requests(), time.monotonic()
        at_once = self._all_at_once()
        self._settle()
        settled, requests = time.monotonic() - begun, self._requests() - before
        cpu = cpu_seconds(self._operator.pid)
        edits = [self._edit(number) for number in load.running[:PROBES]]
        further = [self._one_more(load.jobs + number) for number in range(PROBES // 5)]
        idle = self._idle()
        return Cost(
            jobs=load.jobs,
            simulators_each=load.simulators,
            pods=len(load.running) * (load.simulators + 1),
            settled_seconds=round(settled, 1),
            at_once_p50=percentile(at_once, 50),
            at_once_p99=percentile(at_once, 99),
            edit_p50=percentile(edits, 50),
            edit_p99=percentile(edits, 99),
            one_more_p50=percentile(further, 50),
            one_more_p99=percentile(further, 99),
            requests_per_job=round(requests / load.jobs, 1),
            cpu_seconds=round(cpu, 1),
            resident_peak_mib=round(resident_peak_mib(self._operator.pid), 1),
            idle_requests_per_minute=round(idle.requests, 1),
            idle_lease_requests_per_minute=round(idle.lease_requests, 1),
            idle_cpu_seconds_per_minute=round(idle.cpu_seconds, 2),
        )

    def _all_at_once(self) -> list[float]:
        created: dict[str, float] = {}
        for number in range(self._load.jobs):
            job = self._admin.create(TRAINING_JOBS, self._namespace, self._load.job(number))
            created[job["metadata"]["name"]] = time.monotonic()
        return [self._learners.when(learners_name(name)) - since for name, since in created.items()]

    def _settle(self) -> None:
        """Every simulator of every job that runs is ready, and every job says so."""
        wanted = {f"job-{number}" for number in self._load.running}

        def settled() -> bool:
            jobs = self._admin.list_page(TRAINING_JOBS, self._namespace, {})["items"]
            ready = {job["metadata"]["name"] for job in jobs if self._is_complete(job)}
            return wanted <= ready

        eventually(settled, timeout_seconds=SETTLE_SECONDS, what="all is settled", interval_seconds=2.0)

    def _is_complete(self, job: Object) -> bool:
        return bool((job.get("status") or {}).get("simulators", {}).get("ready") == self._load.simulators)

    def _edit(self, number: int) -> float:
        name = f"job-{number}"
        scale = {"spec": {"replicas": self._load.simulators + 1}}
        self._admin.merge(TRAINING_JOBS, self._namespace, name, scale, subresource="scale")
        edited = time.monotonic()
        before = self._generation(simulators_name(name))
        return max(0.0, self._simulators.when(simulators_name(name), before) - edited)

    def _generation(self, deployment: str) -> int:
        """The generation that holds the edit: the operator's first write made 1, its start of simulators 2."""
        found = self._admin.get(DEPLOYMENTS, self._namespace, deployment) or {}
        edited = found["spec"]["replicas"] == self._load.simulators + 1
        return int(found["metadata"]["generation"]) + (0 if edited else 1)

    def _one_more(self, number: int) -> float:
        begun = time.monotonic()
        self._admin.create(TRAINING_JOBS, self._namespace, self._load.job(number))
        return self._learners.when(learners_name(f"job-{number}")) - begun

    def _idle(self) -> Spent:
        """In a minute in which nothing happens."""
        time.sleep(15.0)  # for the edits' and further jobs' pods
        before = self._spent()
        time.sleep(IDLE_SECONDS)
        after, minutes = self._spent(), IDLE_SECONDS / 60
        return Spent(
            requests=(after.requests - before.requests) / minutes,
            lease_requests=(after.lease_requests - before.lease_requests) / minutes,
            cpu_seconds=(after.cpu_seconds - before.cpu_seconds) / minutes,
        )

    def _spent(self) -> Spent:
        cpu = cpu_seconds(self._operator.pid)
        return Spent(requests=self._requests(), lease_requests=self._requests(of_lease=True), cpu_seconds=cpu)

    def _requests(self, *, of_lease: bool = False) -> float:
        counted = self._operator.samples("stepstream_operator_api_requests_total")
        return sum(
            value
            for labels, value in counted.items()
            if 'verb="watch"' not in labels and ('resource="leases"' in labels) is of_lease
        )


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank, to the millisecond."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


def cpu_seconds(pid: int) -> float:
    columns = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def resident_peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(load: Load) -> Cost:
    cluster = ControlPlane()
    admin = Client(load_configuration(str(cluster.kubeconfig)))
    try:
        cluster.start(lambda: install_definition(admin))
        wait_for_service_account(admin, "default")
        add_nodes(admin, len(load.running) * (load.simulators + 2) // POD_ROOM + 2)
        return measure_on(cluster, admin, load)
    finally:
        cluster.stop()


def measure_on(cluster: ControlPlane, admin: Client, load: Load) -> Cost:
    namespace = create_namespace(admin)
    flags = ["--watch-namespace", namespace, "--log-level", "warning"]
    flags += ["--leader-elect", "--lease-namespace", namespace]
    with tempfile.TemporaryDirectory(prefix="stepstream-bench-") as directory:
        operator = OperatorProcess(flags, kubeconfig=cluster.kubeconfig, log=Path(directory, "operator.log"))
        try:
            return Measurement(admin, load, operator, namespace).cost()
        finally:
            operator.stop()


def write(costs: list[Cost], machine: dict[str, Cell]) -> None:
    rows = [(each.name.replace("_", " "), *(asdict(cost)[each.name] for cost in costs)) for each in fields(Cost)]
    header = ("", *(f"load {number + 1}" for number in range(len(costs))))
    record = Record(
        name="operator",
        title="The operator at scale",
        settings={"idle_seconds": IDLE_SECONDS, "pods_per_node": POD_ROOM, "edits": PROBES},
        machine=machine,
        tables=(Table(title="Cost by load", header=header, rows=rows),),
        notes=(
            "The control plane shares the cores. Times end where a watch of ours shows the operator's write.",
            "At once: from creation to the learners' Job, all jobs submitted without a pause, so most of it is the time"
            " that the others take. Edit: from a changed number of simulators to the changed Deployment, one by one,"
            " with all these jobs present. One more: from the call that creates a job to its learners' Job, the last"
            " of its children but the simulators' Deployment, which waits for learners that are ready.",
            "In load 2 every other job waits in a queue, and so has neither a simulators' Deployment nor a pod.",
            "kwok's pods have no network, so learners do not answer: idle requests leave out progress, by design. The"
            " Lease, as the chart has it, is renewed every 2 s by a read and a write.",
        ),
    )
    print(record.write())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load; writes no record")
    quick = parser.parse_args().quick
    share = 10 if quick else 1
    loads = [Load(jobs=200 // share, simulators=16), Load(jobs=1000 // share, simulators=1, queued_every=2)]
    costs, machine = [], describe_machine()
    for load in loads:
        costs.append(measure(load))
        print(costs[-1], flush=True)
    if not quick:
        write(costs, machine)


if __name__ == "__main__":
    main()
