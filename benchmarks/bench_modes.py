"""Every algorithm in every mode, with one learner and two: steps/s, policy lag, score at equal steps, cores in use.

    python -m benchmarks.bench_modes                 all of it (about half an hour), a record of it
    python -m benchmarks.bench_modes --only pong     one table, a record of its own: cartpole, pong or straggler
    python -m benchmarks.bench_modes --quick         CartPole, A2C and DQN; writes no record

Rows are printed as they come.

Each row is one `stepstream run`, processes and all, of as many steps as the table says; two simulators. The last table
is of a straggler: four simulators whose environments wait for a given time in each step, and then one of them ten times
as long. It costs waiting and no computing.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.local_runs import Run, run
from benchmarks.measuring import ROOT
from benchmarks.paced_environment import paced
from benchmarks.record import Cell, Record, Table, describe_machine

ENVIRONMENTS = 16
"""In all, whatever the number of learners."""
MODES = ((1, "Sync"), (1, "Async"), (1, "Auto"), (2, "Sync"), (2, "Async"))
HEADER = ("algorithm", "learners", "mode", "steps/s", "lag median", "lag p99", "return", "cores")
REPLAY = {"replayCapacitySteps": 20_000, "learningStartsSteps": 1000, "epsilonDecaySteps": 10_000}
CARTPOLE: dict[str, dict[str, Any]] = {
    "A2C": {},
    "PPO": {"horizon": 64, "minibatchSize": 256, "learningRate": 1e-3},
    "DQN": REPLAY | {"learningRate": 5e-4, "huberDelta": 100, "targetUpdateSteps": 500, "finalEpsilon": 0.02},
    "CategoricalDQN": REPLAY | {"learningRate": 5e-4, "targetUpdateSteps": 500, "valueMinimum": 0, "valueMaximum": 100},
    "EpsilonRainbow": REPLAY | {"learningRate": 5e-4, "targetUpdateSteps": 500, "valueMinimum": 0, "valueMaximum": 100},
}
PONG: dict[str, dict[str, Any]] = {
    "A2C": {},
    "PPO": {"minibatchSize": 512},
    "DQN": REPLAY,
    "CategoricalDQN": REPLAY,
    "EpsilonRainbow": REPLAY,
}
STEPS = {"CartPole-v1": 40_000, "ALE/Pong-v5": 16_000}
"""Enough for a game of Pong to end."""
STRAGGLER_STEPS = {False: 6_000, True: 2_000}
PACE_MS = 2.0


def spec(game: str, algorithm: str, parameters: Mapping[str, Any], learners: int, mode: str, steps: int) -> Any:
    return {
        "environment": {"id": game},
        "algorithm": {"name": algorithm, "parameters": dict(parameters)},
        "mode": mode,
        "totalSteps": steps,
        "learners": {"replicas": learners, "environments": ENVIRONMENTS // learners},
        "simulators": {"replicas": 2},
    }


def row(algorithm: str, learners: int, mode: str, found: Run) -> tuple[Cell, ...]:
    said = f"{mode}: {found.mode}" if mode == "Auto" else mode
    lags = (found.policy_lag_median, found.policy_lag_p99)
    return algorithm, learners, said, found.steps_per_second, *lags, found.episode_return, found.cores_used


def table_of(game: str, algorithms: Mapping[str, Mapping[str, Any]]) -> Table:
    steps, rows = STEPS[game], []
    for algorithm, parameters in algorithms.items():
        for learners, mode in MODES:
            found = run(spec(game, algorithm, parameters, learners, mode, steps))
            rows.append(told(row(algorithm, learners, mode, found)))
    return Table(title=f"{game}, {steps:,} steps", header=HEADER, rows=rows)


def told(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    print(*cells, sep=" | ", file=sys.stderr, flush=True)
    return cells


def straggler_table() -> Table:
    rows = []
    for learners, mode in ((1, "Sync"), (1, "Async"), (2, "Sync"), (2, "Async")):
        rates = []
        for straggler, steps in STRAGGLER_STEPS.items():
            job = spec("Paced", "A2C", {}, learners, mode, steps)
            job["environment"] = paced(PACE_MS, straggler=straggler)
            job["simulators"] = {"replicas": 4}
            rates.append(run(job).steps_per_second)
        rows.append(told((learners, mode, *rates, rates[1] / rates[0])))
    return Table(
        title=f"One simulator of four ten times slower than {PACE_MS:g} ms a step (A2C)",
        header=("learners", "mode", "steps/s without it", "steps/s with it", "ratio"),
        rows=rows,
    )


TABLES: dict[str, Callable[[], Table]] = {
    "cartpole": lambda: table_of("CartPole-v1", CARTPOLE),
    "pong": lambda: table_of("ALE/Pong-v5", PONG),
    "straggler": straggler_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="CartPole with A2C and DQN; no record")
    parser.add_argument("--only", choices=TABLES, help="one table")
    arguments = parser.parse_args()
    machine = describe_machine()
    if arguments.quick:
        print(table_of("CartPole-v1", {name: CARTPOLE[name] for name in ("A2C", "DQN")}).markdown())
        return
    wanted = [arguments.only] if arguments.only else [*TABLES]
    record = Record(
        name="-".join(["modes", *filter(None, [arguments.only])]),
        title="Every algorithm in every mode",
        settings={"environments": ENVIRONMENTS, "simulators": 2},
        machine=machine,
        tables=tuple(TABLES[name]() for name in wanted),
        notes=(
            "Lag: updates between the policy that acted and the one that learned, of rank 0, by the buckets of the "
            "metric; not of algorithms with a replay.",
            "Return: mean true score of the last 100 episodes.",
            "Cores: processor time of all processes over the run's whole time, start and end included.",
        ),
    )
    print(record.markdown())
    print(f"written: {record.write().relative_to(ROOT)}")


if __name__ == "__main__":
    main()
