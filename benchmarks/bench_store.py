"""What learners that share a parameter store pay for it: bytes and milliseconds a push, beside a copy in memory.

    python -m benchmarks.bench_store             one and three learners beside rank 0 (about a minute)
    python -m benchmarks.bench_store --quick     one short look; writes no record

- rank 0: a push of its own, in its own memory: Adam over all chunks, and the values copied
- shared memory, wire: a push of another learner on this machine, by either way that it may have. A push is a pull: as
  many bytes come back
- account: what a learner tells and hears beside it, three times an iteration
- copy: the gradients once from memory to memory, in one process

Learners are processes with one thread each; the slowest counts. Shown are medians over many calls, while all of them
share this machine's cores and rank 0 does nothing else: with a machine each, the network takes the cores' place.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack

import torch
from torch import nn

from benchmarks.bench_learners import BYTES_A_PARAMETER, NETWORKS, copy_ms, median_ms, parameters_of
from benchmarks.measuring import ROOT
from benchmarks.record import Record, Table, describe_machine
from benchmarks.run_stepstream import free_port
from stepstream_trainer.algorithms.adam import Adam
from stepstream_trainer.algorithms.flat import Flat, FlatParameters
from stepstream_trainer.learner import mailbox
from stepstream_trainer.learner.ledger import Ledger
from stepstream_trainer.learner.store_link import StoreLink
from stepstream_trainer.learner.store_service import HostedStore

JOB = "bench"
ARRIVAL_SECONDS = 60.0
WAYS = {"shared": "shared memory", "wire": "wire"}


def adam(flat: Flat) -> Adam:
    return Adam(flat, epsilon=1e-5)


def flat_of(parameters: int) -> FlatParameters:
    flat = FlatParameters(nn.Linear(parameters, 1, bias=False), torch.device("cpu"))
    flat.gradients.fill_(1e-3)
    return flat


def host(address: str, learners: int, parameters: int, calls: int) -> None:
    """Rank 0's process: prints what a push of its own takes, and then serves until its input ends."""
    torch.set_num_threads(1)
    hosted = HostedStore(Ledger(), job=JOB, attempt=1, learners=learners)
    hosted.attach(flat_of(parameters), adam)
    found = {"push": median_ms(lambda: hosted.push(1e-9), calls)}
    hosted.listen(address, None)
    hosted.open()
    print(json.dumps(found), flush=True)
    sys.stdin.read()
    hosted.close()


def visit(address: str, rank: int, parameters: int, calls: int, way: str) -> None:
    """Another learner's process: prints its medians as one JSON object."""
    torch.set_num_threads(1)
    if way == "wire":
        mailbox.make = lambda _: None  # as on another machine
    link = StoreLink(job=JOB, attempt=1, rank=rank)
    link.dial(address, None, lambda: None, arrival_seconds=ARRIVAL_SECONDS)
    link.attach(flat_of(parameters), adam)
    found = {
        "push": median_ms(lambda: link.push(1e-9), calls),
        "account": median_ms(lambda: link.account(steps=1, updates=1), calls),
    }
    print(json.dumps(found), flush=True)
    link.close()


def measure(parameters: int, visitors: int, way: str, calls: int) -> dict[str, float]:
    """Milliseconds: `own` of rank 0, `push` and `account` of the slowest of the others."""
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "benchmarks.bench_store", "--calls", str(calls)]

    def start(*arguments: object) -> "subprocess.Popen[str]":
        command = [*program, *map(str, arguments)]
        pipe = subprocess.PIPE
        return closing.enter_context(
            subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)
        )

    with ExitStack() as closing:
        first = start("--host", address, visitors + 1, parameters)
        assert first.stdout is not None
        own = json.loads(first.stdout.readline())["push"]
        others = [start("--visit", address, rank, parameters, way) for rank in range(1, visitors + 1)]
        said = [json.loads(process.communicate(timeout=300)[0]) for process in others]
        first.communicate(timeout=60)
    return {"own": own, **{name: max(each[name] for each in said) for name in ("push", "account")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one learner beside rank 0, few calls; no record")
    parser.add_argument("--calls", type=int, default=300, help="of each kind")
    parser.add_argument("--host", nargs=3, metavar=("ADDRESS", "LEARNERS", "PARAMETERS"), help=argparse.SUPPRESS)
    parser.add_argument("--visit", nargs=4, metavar=("ADDRESS", "RANK", "PARAMETERS", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.host:
        address, learners, parameters = arguments.host
        host(address, int(learners), int(parameters), arguments.calls)
        return
    if arguments.visit:
        address, rank, parameters, way = arguments.visit
        visit(address, int(rank), int(parameters), arguments.calls, way)
        return
    machine, calls = describe_machine(), 50 if arguments.quick else arguments.calls
    sizes = (1,) if arguments.quick else (1, 3)
    rows, accounts = [], []
    for name, spec in NETWORKS.items():
        count = parameters_of(spec)
        found = {(size, way): measure(count, size, way, calls) for size in sizes for way in WAYS}
        own, copied = min(each["own"] for each in found.values()), copy_ms(count, calls)
        for way, said in WAYS.items():
            pushes = [found[size, way]["push"] for size in sizes]
            rows.append((name, said, 2 * count * BYTES_A_PARAMETER, own, *pushes, copied))
        accounts += [each["account"] for each in found.values()]
    header = tuple(f"{size} beside rank 0, ms" for size in sizes)
    record = Record(
        name="store",
        title="What learners pay for sharing a parameter store",
        settings={"calls": calls, "rule": "Adam", "account, ms": round(min(accounts), 3)},
        machine=machine,
        tables=(
            Table(
                title="A push, which is a pull, once an update (PPO: once a minibatch)",
                header=("network", "way", "bytes there and back", "rank 0's own, ms", *header, "copy, ms"),
                rows=rows,
            ),
        ),
        notes=("All learners share this machine's cores and its loopback interface.",),
    )
    print(record.markdown())
    if not arguments.quick:
        print(f"written: {record.write().relative_to(ROOT)}")


if __name__ == "__main__":
    main()
