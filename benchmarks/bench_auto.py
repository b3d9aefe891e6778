"""Which mode `Auto` takes in ten situations, beside what Sync and Async make there when they run alone.

    python -m benchmarks.bench_auto             all ten (about twenty minutes)
    python -m benchmarks.bench_auto --quick     the first one; writes no record

Auto is right where the mode that it took is the faster of the two alone, or where these differ by less than the margin
that Async must win by. Simulators that wait stand for emulators on machines of their own: on this one all share cores.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.local_runs import Run, history, run
from benchmarks.measuring import ROOT
from benchmarks.paced_environment import paced
from benchmarks.record import Cell, Record, Table, describe_machine
from stepstream_trainer.learner.modes import MARGIN

ENDLESS = 2_000_000_000
ALONE_LINES = 4
"""Of the history, five seconds each, that a mode alone runs for. The first is not counted."""
SLOW_LEARNER = {"name": "PPO", "parameters": {"horizon": 16, "minibatchSize": 64, "epochs": 40}}
PPO = {"name": "PPO", "parameters": {"horizon": 64, "minibatchSize": 256}}
A2C = {"name": "A2C"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """A job's algorithm and environment, and how many simulators serve 16 slots."""

    algorithm: Mapping[str, Any]
    milliseconds: float | None = None
    """Of a step, of simulators that wait; None for the game."""
    straggler: bool = False
    game: str = "CartPole-v1"
    simulators: int = 2
    learners: Mapping[str, Any] = field(default_factory=dict)

    def job(self, mode: str) -> dict[str, Any]:
        environment: dict[str, Any] = {"id": self.game}
        if self.milliseconds is not None:
            environment = paced(self.milliseconds, straggler=self.straggler)
        return {
            "environment": environment,
            "algorithm": dict(self.algorithm),
            "mode": mode,
            "totalSteps": ENDLESS,
            "learners": {"environments": 16, **self.learners},
            "simulators": {"replicas": self.simulators},
        }


SITUATIONS = {
    "slow simulators, quick learner": Situation(algorithm=A2C, milliseconds=4.0),
    "slow simulators, slow learner": Situation(algorithm=SLOW_LEARNER, milliseconds=4.0),
    "quick simulators, slow learner": Situation(algorithm=SLOW_LEARNER, milliseconds=0.2),
    "both about as quick": Situation(algorithm=PPO, milliseconds=1.0),
    "a straggler, quick learner": Situation(algorithm=A2C, milliseconds=1.0, straggler=True, simulators=4),
    "a straggler, slow learner": Situation(algorithm=SLOW_LEARNER, milliseconds=1.0, straggler=True, simulators=4),
    "tiny network, real emulation (CartPole)": Situation(algorithm=PPO),
    "tiny network, slow learner (CartPole)": Situation(algorithm=SLOW_LEARNER),
    "large network, A2C (Pong)": Situation(algorithm=A2C, game="ALE/Pong-v5"),
    "large network, PPO (Pong)": Situation(
        algorithm={"name": "PPO", "parameters": {"horizon": 16, "minibatchSize": 64}}, game="ALE/Pong-v5"
    ),
}


def long_enough(directory: Path) -> bool:
    return len(history(directory)) >= ALONE_LINES


def decided(directory: Path) -> bool:
    path = directory / "state.json"
    return path.exists() and '"modeDecision"' in path.read_text()


def judge(alone: Mapping[str, Run], chosen: str) -> bool:
    rates = {mode: found.late_steps_per_second for mode, found in alone.items()}
    faster = "Async" if rates["Async"] > rates["Sync"] * (1 + MARGIN) else "Sync"
    close = abs(rates["Async"] / rates["Sync"] - 1) <= 2 * MARGIN
    return chosen == faster or close


def measure(name: str, situation: Situation) -> tuple[Cell, ...]:
    alone = {mode: run(situation.job(mode), long_enough) for mode in ("Sync", "Async")}
    decision = run(situation.job("Auto"), decided).decision
    assert decision is not None
    return (
        name,
        *(found.late_steps_per_second for found in alone.values()),
        decision["syncStepsPerSecond"],
        decision["asyncStepsPerSecond"],
        decision["selected"],
        "yes" if judge(alone, decision["selected"]) else "no",
        decision["reason"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one situation; no record")
    arguments = parser.parse_args()
    machine, rows = describe_machine(), []
    for name, situation in [*SITUATIONS.items()][: 1 if arguments.quick else None]:
        rows.append(measure(name, situation))
        print(*rows[-1], sep=" | ", flush=True)
    record = Record(
        name="auto",
        title="What Auto takes, beside what each mode makes alone",
        settings={"slots": 16, "margin": MARGIN},
        machine=machine,
        tables=(
            Table(
                title="Steps a second",
                header=("situation", "Sync alone", "Async alone", "Sync, seen", "Async, seen", "taken", "right", "why"),
                rows=rows,
            ),
        ),
        notes=("Right: the faster one alone, or both within twice the margin.",),
    )
    print(record.markdown())
    if not arguments.quick:
        print(f"written: {record.write().relative_to(ROOT)}")


if __name__ == "__main__":
    main()
