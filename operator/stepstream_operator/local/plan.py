"""The processes of an attempt: the containers that the operator would run, placed on this machine."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

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
from stepstream_trainer.config import contract

THREADS: Final = "OMP_NUM_THREADS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """Where processes meet: Unix sockets in `sockets`, unless a port is given. A learner adds its rank to a port."""

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
    learner_retries: int
    """Failures of each learner that the others go on through."""


def place(directory: RunDirectory, addresses: Addresses) -> Placement:
    """A new attempt is placed anew: the port at which its learners meet is one that was free just now."""
    return local_placement(
        run_dir=str(directory.path),
        socket_dir=addresses.sockets,
        stream_port=addresses.stream_port,
        http_port=addresses.http_port,
        rendezvous_port=_free_port(),
    )


def plan_processes(job: TrainingJob, attempt: int, placement: Placement, directory: RunDirectory) -> Plan:
    """Raises ConfigurationErrors for what needs a cluster. The job is not suspended."""
    children = desired_children(job, attempt, placement)
    learner, simulator = workload(children, LEARNER), workload(children, SIMULATOR)
    count = learner["spec"]["completions"]
    learners = [
        _at_rank(process(learner, pod_name=f"{job.name}-learner-{rank}", index=rank), rank, share_of_cores(count))
        for rank in range(count)
    ]
    simulators = [
        process(simulator, pod_name=f"{job.name}-simulator-{index}") for index in range(simulator["spec"]["replicas"])
    ]
    return Plan(
        learners=tuple(_spec(one, directory) for one in learners),
        simulators=tuple(_spec(one, directory) for one in simulators),
        files=files(children),
        status_address=learners[0].environment[contract.HTTP],
        learner_retries=learner["spec"].get("backoffLimitPerIndex", 0),
    )


def share_of_cores(learners: int, environment: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Variables of one of several learners on this machine, whose threads would wait for one another's cores.

    Nothing for a learner that is alone, or where somebody has said how many threads there are to be.
    """
    if learners == 1 or THREADS in environment:
        return {}
    return {THREADS: str(max(1, len(os.sched_getaffinity(0)) // learners))}


def _at_rank(learner: Process, rank: int, variables: Mapping[str, str]) -> Process:
    """With what Kubernetes' references cannot express: addresses that add, and files that only rank 0 has in common.

    And with `variables`, unless the job says otherwise.
    """
    own = learner.environment
    addresses = {name: contract.at_rank(own[name], rank) for name in (contract.LISTEN, contract.HTTP)}
    last_word = Path(own[contract.FINAL_STATUS])
    final_status = contract.rank_directory(last_word.parent, rank) / last_word.name
    return replace(learner, environment={**variables, **own, **addresses, contract.FINAL_STATUS: str(final_status)})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spec(one: Process, directory: RunDirectory) -> ProcessSpec:
    return ProcessSpec(name=one.name, command=one.command, environment=one.environment, log=directory.log(one.name))
