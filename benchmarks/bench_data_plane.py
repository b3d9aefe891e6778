"""The data plane alone: how much of the emulator's speed the path over gRPC keeps, and how much a learner can take in.

    python -m benchmarks.bench_data_plane             three rounds in turn (about eight minutes on two cores)
    python -m benchmarks.bench_data_plane --quick     one short round; writes no record

- in process: ale-py's vector environment stepped with random actions in this process, all cores, nothing around it
- random policy: a real simulator process, streams, leases and slots as in training, and a loop that answers at random
- synthetic: a simulator that emulates nothing and sends the same rows for ever; both ends share the cores
- bare gRPC: the same simulator, answered by the least that a gRPC servicer can do (plain_stream.py): what is left for
  leases, slots and a loop thread to lose

Processor time is of the whole process, divided by the observations that passed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ale_py.vector_env import AtariVectorEnv

from benchmarks.bound import rate
from benchmarks.jobs import trainer_config
from benchmarks.measuring import leave_on_sigterm
from benchmarks.plain_stream import plain_server
from benchmarks.record import Record, Table, describe_machine
from benchmarks.settings import SETTINGS
from stepstream_trainer.config import TrainerConfig, contract, dump
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.learner.groups import number_of_groups
from stepstream_trainer.learner.ingest import StreamServer
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.simulator.atari import rom_of

REAL = contract.SIMULATOR_COMMAND[1:]
SYNTHETIC = ("-m", "benchmarks.synthetic_simulator")
PATIENCE_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """Observations a second, and processor microseconds for each of them on either side."""

    rate: float
    learner_us: float
    simulator_us: float


@dataclass(frozen=True, slots=True)
class Case:
    environments: int
    groups: int

    def __str__(self) -> str:
        return f"{self.environments} environments, {self.groups} group{'s' if self.groups > 1 else ''}"

    def config(self) -> TrainerConfig:
        config = trainer_config("A2C", self.environments)
        return replace(config, learner=replace(config.learner, groups=self.groups))


CASES = (Case(32, 1), Case(32, 2), Case(64, 2), Case(128, 2), Case(256, 2))


def in_process(config: TrainerConfig, seconds: float) -> float:
    """Agent steps a second of ale-py's own vector environment, configured as the job's."""
    size, atari = config.learner.environments, config.environment.atari
    batch = AtariVectorEnv(
        rom_of(config.environment.id),
        size,
        num_threads=min(size, usable_cores()),
        frameskip=atari.frame_skip,
        stack_num=1,
        noop_max=atari.noop_max,
        use_fire_reset=atari.fire_reset,
        repeat_action_probability=float(atari.sticky_action_probability),
    )
    num_actions, generator = len(batch.ale.get_action_set()), np.random.default_rng(1)
    batch.reset(seed=1)

    def step() -> int:
        batch.step(generator.integers(0, num_actions, size, np.int32))
        return size

    try:
        return rate(step, seconds)
    finally:
        batch.close()


def through_streams(config: TrainerConfig, program: tuple[str, ...], seconds: float) -> Passed:
    """Random actions answered to a simulator in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="stepstream-bench-") as folder, ExitStack() as closing:
        address = f"unix:{folder}/learner"
        server = StreamServer(
            config,
            address,
            groups=number_of_groups(config.learner),
            tls_directory=None,
            rank=0,
            metrics=LearnerMetrics(new_registry(), frame_skip=config.environment.frame_skip),
        )
        server.start()
        closing.callback(server.stop, job_over=True)
        simulator = closing.enter_context(_simulator(config, program, address, Path(folder)))
        slots = server.slots(PATIENCE_SECONDS)
        assert slots is not None, "no simulator came"
        server.serve_leases()
        _play(slots, seconds / 10)
        mine, its = time.process_time(), _cpu_seconds(simulator.pid)
        began = time.perf_counter()
        passed = _play(slots, seconds)
        elapsed = time.perf_counter() - began
        return Passed(
            rate=passed / elapsed,
            learner_us=1e6 * (time.process_time() - mine) / passed,
            simulator_us=1e6 * (_cpu_seconds(simulator.pid) - its) / passed,
        )


def through_plain_streams(config: TrainerConfig, seconds: float) -> float:
    """Observations a second that the synthetic simulator brings to a servicer that only copies and answers."""
    groups = number_of_groups(config.learner)
    with tempfile.TemporaryDirectory(prefix="stepstream-bench-") as folder:
        address = f"unix:{folder}/learner"
        with (
            plain_server(address, num_slots=config.learner.environments, groups=groups) as copied,
            _simulator(config, SYNTHETIC, address, Path(folder)),
        ):
            assert copied.wait_first(PATIENCE_SECONDS), "no simulator came"
            time.sleep(seconds / 10)
            before, began = copied.rows, time.perf_counter()
            time.sleep(seconds)
            return (copied.rows - before) / (time.perf_counter() - began)


def _play(slots: Slots, seconds: float) -> int:
    """Answer every group as soon as it is there; the number of rows that came."""
    generator = np.random.default_rng(1)
    end, rows = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        for group, members in enumerate(slots.group_slices):
            assert slots.wait_group(group, PATIENCE_SECONDS), "the simulator is gone"
            size = members.stop - members.start
            slots.post_actions(group, generator.integers(0, slots.spaces.num_actions, size))
            rows += size
    return rows


@contextmanager
def _simulator(
    config: TrainerConfig, program: tuple[str, ...], address: str, folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    path = folder / "job.json"
    path.write_text(dump(config))
    variables = {contract.CONFIG: str(path), contract.LEARNER: address, contract.SIMULATOR: "simulator"}
    process = subprocess.Popen([sys.executable, *program], env=os.environ | variables, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, no record")
    arguments = parser.parse_args()
    leave_on_sigterm()
    machine = describe_machine()
    rounds, seconds = (1, 2.0) if arguments.quick else (3, 6.0)
    alone: dict[Case, list[float]] = defaultdict(list)
    real: dict[Case, list[Passed]] = defaultdict(list)
    synthetic: dict[Case, list[Passed]] = defaultdict(list)
    plain: dict[Case, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for case in CASES:
            config = case.config()
            alone[case].append(in_process(config, seconds))
            real[case].append(through_streams(config, REAL, seconds))
            synthetic[case].append(through_streams(config, SYNTHETIC, seconds))
            plain[case].append(through_plain_streams(config, seconds))
    record = Record(
        name="data-plane",
        title="The data plane alone",
        settings={"game": SETTINGS.game, "rounds": rounds, "window seconds": seconds},
        machine=machine,
        tables=(
            Table(
                title="A random policy through real processes and streams, beside the emulator in process",
                header=("case", "in process, steps/s", "random policy, steps/s", "fraction"),
                rows=[_kept(case, alone[case], real[case]) for case in CASES],
            ),
            Table(
                title="Observations that one learner takes in from a synthetic simulator, both ends on these cores",
                header=("case", "observations/s", "bare gRPC, observations/s", "fraction"),
                rows=[_taken_in(case, synthetic[case], plain[case]) for case in CASES],
            ),
            Table(
                title="Processor microseconds for an observation",
                header=(
                    "case",
                    "learner",
                    "simulator, emulation included",
                    "synthetic: learner",
                    "synthetic: simulator",
                ),
                rows=[_costs(case, real[case], synthetic[case]) for case in CASES],
            ),
        ),
        notes=("Medians over the rounds; the fraction is the median of each round's own.",),
    )
    print(record.markdown())
    if not arguments.quick:
        print(record.write())
    return 0


def _kept(case: Case, alone: list[float], real: list[Passed]) -> tuple[str, float, float, float]:
    fraction = statistics.median(each.rate / bound for each, bound in zip(real, alone, strict=True))
    return str(case), statistics.median(alone), _median(real, "rate"), fraction


def _taken_in(case: Case, synthetic: list[Passed], plain: list[float]) -> tuple[str, float, float, float]:
    fraction = statistics.median(each.rate / bare for each, bare in zip(synthetic, plain, strict=True))
    return str(case), _median(synthetic, "rate"), statistics.median(plain), fraction


def _costs(case: Case, real: list[Passed], synthetic: list[Passed]) -> tuple[str | float, ...]:
    return (
        str(case),
        *(_median(found, side) for found in (real, synthetic) for side in ("learner_us", "simulator_us")),
    )


def _median(found: list[Passed], name: str) -> float:
    return statistics.median(getattr(each, name) for each in found)


if __name__ == "__main__":
    sys.exit(main())
