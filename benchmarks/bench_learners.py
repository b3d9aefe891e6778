"""What learners that step together pay for it: bytes and milliseconds an update, beside what the machine can copy.

    python -m benchmarks.bench_learners             two and four learners on this machine (about a minute)
    python -m benchmarks.bench_learners --quick     one short look; writes no record

- all-reduce: `Collective.average` of a network's gradients, over the loopback interface
- agreement: what the learners agree on over the board in each iteration: that all have collected, what rank 0 decides
- copy: the gradients once from memory to memory, in this process

Learners are processes with one thread each; the slowest counts. Shown are medians over many calls, while all of them
share this machine's cores: with a machine each, the network between them takes the cores' place.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import torch

from benchmarks.measuring import ROOT
from benchmarks.record import Record, Table, describe_machine
from benchmarks.run_stepstream import free_port
from stepstream_trainer.algorithms.networks import build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages, ObservationSpec, Vectors
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.learner.board import Board
from stepstream_trainer.learner.collective import Collective
from stepstream_trainer.learner.ranks import InStep, News, Order

CPU = torch.device("cpu")
NETWORKS: dict[str, ObservationSpec] = {
    "images (Nature)": BlockImages(rows=21, columns=21, frames=4),
    "vectors (two layers of 64)": Vectors(size=4),
}
BYTES_A_PARAMETER = 4


def parameters_of(spec: ObservationSpec) -> int:
    precision = Precision(device=CPU, dtype=torch.float32)
    return build_actor_critic(spec, 6, seed=0, precision=precision).flat.gradients.numel()


def median_ms(work: Callable[[], object], calls: int) -> float:
    """Of one call; the first tenth is not counted."""
    seconds = []
    for _ in range(calls):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return 1000 * statistics.median(seconds[calls // 10 :])


def learner(rank: int, size: int, address: str, calls: int) -> None:
    """One learner's process: prints its medians as one JSON object."""
    torch.set_num_threads(1)
    board = Board.open(rank, size, address, lambda: None)
    collective = Collective(board, CPU, rank=rank, size=size)
    ranks = InStep(board, rank=rank, size=size, tick=lambda: None)
    found = {}
    for name, spec in NETWORKS.items():
        gradients = torch.ones(parameters_of(spec))
        found[name] = median_ms(lambda gradients=gradients: collective.average(gradients), calls)  # type: ignore[misc]

    def agree() -> None:
        ranks.collected(stop=False)
        ranks.agree(lambda news: Order(done=False, save=False), News())

    found["agreement"] = median_ms(agree, calls)
    ranks.end()
    print(json.dumps(found), flush=True)
    board.close()


def measure(size: int, calls: int) -> dict[str, float]:
    """Milliseconds by name, of the slowest of `size` learners."""
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    program = [sys.executable, "-m", "benchmarks.bench_learners", "--calls", str(calls), "--learner"]
    commands = [[*program, str(rank), str(size), address] for rank in range(size)]
    with ExitStack() as closing:
        processes = [
            closing.enter_context(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
            )
            for command in commands
        ]
        said = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    return {name: max(each[name] for each in said) for name in said[0]}


def copy_ms(parameters: int, calls: int) -> float:
    source, target = torch.ones(parameters), torch.empty(parameters)
    return median_ms(lambda: target.copy_(source), calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two learners, few calls; no record")
    parser.add_argument("--calls", type=int, default=300, help="of each kind")
    parser.add_argument("--learner", nargs=3, metavar=("RANK", "SIZE", "ADDRESS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.learner:
        rank, size, address = arguments.learner
        learner(int(rank), int(size), address, arguments.calls)
        return
    machine, calls = describe_machine(), 50 if arguments.quick else arguments.calls
    sizes = (2,) if arguments.quick else (2, 4)
    found = {size: measure(size, calls) for size in sizes}
    rows = []
    for name, spec in NETWORKS.items():
        parameters = parameters_of(spec)
        rows.append(
            (
                name,
                parameters * BYTES_A_PARAMETER,
                *(found[size][name] for size in sizes),
                copy_ms(parameters, calls),
            )
        )
    learners = tuple(f"{size} learners, ms" for size in sizes)
    record = Record(
        name="learners",
        title="What learners pay for stepping together",
        settings={"calls": calls},
        machine=machine,
        tables=(
            Table(
                title="All-reduce of the gradients, once an update (PPO: once a minibatch)",
                header=("network", "bytes", *learners, "copy, ms"),
                rows=rows,
            ),
            Table(
                title="Agreement over the board, once an iteration",
                header=("", *learners),
                rows=[("all have collected, and what rank 0 decides", *(found[size]["agreement"] for size in sizes))],
            ),
        ),
        notes=("All learners share this machine's cores and its loopback interface.",),
    )
    print(record.markdown())
    if not arguments.quick:
        print(f"written: {record.write().relative_to(ROOT)}")


if __name__ == "__main__":
    main()
