"""The processes of an attempt: the containers that the operator would run, placed on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stepstream_operator.api import TrainingJob
from stepstream_operator.children import (
    LEARNER,
    SIMULATOR,
    Placement,
    Process,
    desired_children,
    files,
    local_placement,
    process,
    workload,
)
from stepstream_operator.local.processes import ProcessSpec
from stepstream_operator.local.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """Where processes meet: Unix sockets in `sockets`, unless a port is given."""

    sockets: str
    stream_port: int | None = None
    http_port: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The processes of one attempt, the files they read, and where rank 0 answers /status."""

    learners: tuple[ProcessSpec, ...]
    simulators: tuple[ProcessSpec, ...]
    files: Mapping[str, str]
    status_address: str


def place(directory: RunDirectory, addresses: Addresses) -> Placement:
    placement = local_placement(
        run_dir=str(directory.path), socket_dir=addresses.sockets, stream_port=addresses.stream_port
    )
    if addresses.http_port is None:
        return placement
    return replace(placement, learner_http=f"127.0.0.1:{addresses.http_port}")


def plan_processes(job: TrainingJob, attempt: int, placement: Placement, directory: RunDirectory) -> Plan:
    """Raises ConfigurationErrors for what needs a cluster. The job is not suspended."""
    children = desired_children(job, attempt, placement)
    learner, simulator = workload(children, LEARNER), workload(children, SIMULATOR)
    learners = [
        process(learner, pod_name=f"{job.name}-learner-{rank}", index=rank)
        for rank in range(learner["spec"]["completions"])
    ]
    simulators = [
        process(simulator, pod_name=f"{job.name}-simulator-{index}") for index in range(simulator["spec"]["replicas"])
    ]
    return Plan(
        learners=tuple(_spec(one, directory) for one in learners),
        simulators=tuple(_spec(one, directory) for one in simulators),
        files=files(children),
        status_address=learners[0].environment["STEPSTREAM_HTTP"],
    )


def _spec(one: Process, directory: RunDirectory) -> ProcessSpec:
    return ProcessSpec(name=one.name, command=one.command, environment=one.environment, log=directory.log(one.name))
