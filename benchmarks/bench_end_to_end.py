"""Stepstream beside Stable-Baselines3 and rl_games, and beside the bound of its own parts: one run, the same cores.

    python -m benchmarks.bench_end_to_end                    every case, twice, in turn (about forty minutes)
    python -m benchmarks.bench_end_to_end --quick            one short look; writes no record
    python -m benchmarks.bench_end_to_end --environments 16 --algorithms PPO --rounds 1

Steps are agent steps (four frames). Everyone runs Pong with the settings of settings.py; programs take turns within a
round, so that a machine that slows down slows all of them. Shown are medians over the rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.jobs import PARAMETERS
from benchmarks.measuring import ROOT, MeasurementFailed, leave_on_sigterm, measure
from benchmarks.peers.environment import interpreter
from benchmarks.quiet import Attempt, quietest
from benchmarks.record import Cell, Record, Table, describe_machine
from benchmarks.settings import SETTINGS
from benchmarks.timeline import Window

STEPSTREAM = "Stepstream"
SB3 = "Stable-Baselines3"
RL_GAMES = "rl_games"
RL_GAMES_HAS = ("A2C", "PPO")
FULL = Window(warm_up_seconds=20, seconds=60)
QUICK = Window(warm_up_seconds=5, seconds=15, cycles=2)
LIMIT_SECONDS = 600.0  # rl_games compiles its network first; the slowest peer needs half a minute for a cycle


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured, by all programs."""

    algorithm: str
    environments: int

    def __str__(self) -> str:
        return f"{self.algorithm}, {self.environments} environments"

    @property
    def arguments(self) -> list[str]:
        return ["--algorithm", self.algorithm, "--environments", str(self.environments)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A module that trains until it is ended. Variants of one peer share its `name`; the best one is shown."""

    name: str
    command: tuple[str | Path, ...]
    algorithms: tuple[str, ...] = tuple(PARAMETERS)


def programs(peers: Path, *, all_variants: bool) -> tuple[Program, ...]:
    """Peers as they come: SB3 steps its environments in turn, rl_games compiles its network."""
    sb3, rl_games = ((peers, "-m", f"benchmarks.peers.{module}") for module in ("run_sb3", "run_rl_games"))
    usual = (
        Program(name=STEPSTREAM, command=(sys.executable, "-m", "benchmarks.run_stepstream")),
        Program(name=SB3, command=(*sb3, "--vector-env", "dummy")),
        Program(name=RL_GAMES, command=(*rl_games, "--compile"), algorithms=RL_GAMES_HAS),
    )
    others = (
        Program(name=SB3, command=(*sb3, "--vector-env", "subproc")),
        Program(name=RL_GAMES, command=(*rl_games, "--no-compile"), algorithms=RL_GAMES_HAS),
    )
    return (*usual, *others) if all_variants else usual


Rates = dict[Case, dict[str, list[Attempt[float]]]]
"""Steps a second of every round, by case and by program (the command's words tell variants apart)."""
Bounds = dict[Case, list[dict[str, float]]]


def run_round(cases: Iterable[Case], candidates: Sequence[Program], window: Window, rates: Rates) -> None:
    """Each program once for each case."""
    for case in cases:
        for program in candidates:
            if case.algorithm not in program.algorithms:
                continue
            words = " ".join(str(word) for word in program.command[2:])
            try:
                command = [*program.command, *case.arguments]
                attempt = quietest(partial(measure, command, window, limit_seconds=LIMIT_SECONDS))
            except MeasurementFailed as failure:
                print(f"{case}: {program.name} ({words}) could not be measured: {failure}", file=sys.stderr)
                continue
            rates[case].setdefault(f"{program.name}|{words}", []).append(attempt)
            print(f"{case}: {program.name} ({words}): {_rate(attempt)} steps/s", flush=True)


def measure_bound(case: Case, seconds: float) -> dict[str, float]:
    """benchmarks.bound in a process of its own, as a learner has."""
    command = [sys.executable, "-m", "benchmarks.bound", *case.arguments, "--seconds", str(seconds)]
    attempt = quietest(lambda: json.loads(subprocess.check_output(command, cwd=ROOT)))
    found: dict[str, float] = {**attempt.found, "stolen": attempt.stolen}
    print(f"{case}: bound {found['steps_per_second']:,.0f} steps/s, {attempt.stolen:.0%} stolen", flush=True)
    return found


def best(rates: Mapping[str, Sequence[Attempt[float]]], name: str) -> float | None:
    """The highest median among a program's variants; None where none could be measured."""
    medians = [
        statistics.median(attempt.found for attempt in attempts)
        for words, attempts in rates.items()
        if words.startswith(f"{name}|")
    ]
    return max(medians, default=None)


def end_to_end_table(rates: Rates, bounds: Bounds) -> Table:
    """Rates, ratios to the peers, and the fraction of the bound, by case."""
    return Table(
        title="Agent steps a second, end to end",
        header=("case", STEPSTREAM, SB3, RL_GAMES, f"x {SB3}", f"x {RL_GAMES}", "bound", "of bound"),
        rows=[tuple(_end_to_end_row(case, rates[case], bounds.get(case, ()))) for case in rates],
    )


def _end_to_end_row(
    case: Case, rates: Mapping[str, Sequence[Attempt[float]]], bounds: Sequence[Mapping[str, float]]
) -> Iterator[Cell]:
    ours, sb3, rl_games = (best(rates, name) for name in (STEPSTREAM, SB3, RL_GAMES))
    bound = statistics.median(found["steps_per_second"] for found in bounds) if bounds else None
    yield from (str(case), ours, sb3, rl_games)
    yield from (_ratio(ours, peer) for peer in (sb3, rl_games))
    yield from (bound, _ratio(ours, bound))


def _ratio(ours: float | None, other: float | None) -> float | None:
    return None if ours is None or other is None else ours / other


def bound_table(bounds: Bounds) -> Table:
    parts = ("emulation", "inference", "training", "epochs", "steps_per_second", "stolen")
    return Table(
        title="The bound: each part alone on all cores (1 / (1/emulation + 1/inference + epochs/training))",
        header=(
            "case",
            "emulation, steps/s",
            "inference, samples/s",
            "training, samples/s",
            "epochs",
            "bound, steps/s",
            "stolen, fraction",
        ),
        rows=[
            (str(case), *(statistics.median(each[part] for each in found) for part in parts))
            for case, found in bounds.items()
        ],
    )


def rounds_table(rates: Rates) -> Table:
    """Every single measurement, so that the scatter is seen."""
    rows = [
        (str(case), words.replace("|", ": "), ", ".join(map(_rate, attempts)))
        for case, measured in rates.items()
        for words, attempts in measured.items()
    ]
    return Table(title="Every round", header=("case", "program", "steps/s"), rows=rows)


def _rate(attempt: Attempt[float]) -> str:
    return f"{attempt.found:,.0f} ({attempt.stolen:.0%} stolen)"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short windows, one round, 16 environments, no record")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--algorithms", nargs="+", choices=tuple(PARAMETERS), default=list(PARAMETERS))
    parser.add_argument("--environments", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--without-peers", action="store_true", help="Stepstream and its bound alone")
    parser.add_argument(
        "--all-variants", action="store_true", help="also SB3 with a process an environment, rl_games not compiled"
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    leave_on_sigterm()
    machine = describe_machine()
    sizes, rounds = ([16], 1) if arguments.quick else (arguments.environments, arguments.rounds)
    window, part_seconds = (QUICK, 3.0) if arguments.quick else (FULL, 10.0)
    cases = [Case(algorithm, size) for size in sizes for algorithm in arguments.algorithms]
    peers = Path(sys.executable) if arguments.without_peers else interpreter()
    candidates = programs(peers, all_variants=arguments.all_variants)
    candidates = candidates[:1] if arguments.without_peers else candidates
    rates: Rates = defaultdict(dict)
    bounds: Bounds = defaultdict(list)
    for _ in range(rounds):
        for case in cases:
            bounds[case].append(measure_bound(case, part_seconds))
        run_round(cases, candidates, window, rates)
    record = Record(
        name="end-to-end",
        title="End to end: Stepstream, its bound, and its peers",
        settings={
            "game": SETTINGS.game,
            "A2C": f"horizon {SETTINGS.a2c_horizon}",
            "PPO": f"horizon {SETTINGS.ppo_horizon}, minibatch {SETTINGS.ppo_minibatch}, epochs {SETTINGS.ppo_epochs}",
            "DQN": f"batch {SETTINGS.dqn_batch}, an update every {SETTINGS.dqn_train_every} steps, "
            f"replay of {SETTINGS.dqn_replay:,} steps",
            "rounds": rounds,
            "window seconds": window.seconds,
        },
        machine=machine,
        tables=(end_to_end_table(rates, bounds), bound_table(bounds), rounds_table(rates)),
        notes=(
            "Agent steps; frames are four times as many. Medians over the rounds; of a peer's variants the fastest.",
            "Stepstream: a learner and a simulator process over gRPC, metrics and history on; one group of "
            "environments, its default precision for this machine. Peers: their own default precision (float32), "
            "rl_games with its torch.compile.",
            "Stolen: what the machine's host gave to others meanwhile. What was much disturbed was measured again, "
            "four times at most, and the quietest attempt counts.",
        ),
    )
    print(f"\n{record.markdown()}")
    if not arguments.quick:
        print(f"written: {record.write().relative_to(ROOT)}")
    return 0 if all(best(rates[case], STEPSTREAM) for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
