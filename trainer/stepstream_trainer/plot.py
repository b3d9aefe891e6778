"""Learning curves of one or several runs as a PNG: mean true return over steps.

    python -m stepstream_trainer.plot RUN... [--output curves.png] [--x steps|frames|hours]

Runs that differ only in their seed, or in how many simulators served them, share a colour: each thinly, and their mean
and range as far as all have got. Others are told apart by their directory's name where their jobs' names do not.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stepstream_trainer.config import (
    ConfigurationErrors,
    SimulatorsConfig,
    TrainerConfig,
    contract,
    dump,
    load_trainer_config,
)
from stepstream_trainer.history import METRICS_FILE, read_history

AXES = {"steps": "steps (agent actions)", "frames": "frames (steps x frame skip)", "hours": "hours of training"}
POINTS = 400
"""Of a curve that several runs share; more than a picture can show."""


class NothingToPlotError(Exception):
    """A run has no curve; the message is one sentence for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Mean true return `y` at `x`, rising in x. `label` is shown, with the run's `name` where others have the same.

    Runs of equal `family` are seeds of one setting.
    """

    label: str
    name: str
    family: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Several seeds: each, and on the x that all have reached their mean, lowest and highest."""

    label: str
    curves: Sequence[Curve]
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def read_curve(run: Path, axis: str) -> Curve:
    """The curve of one run directory. Raises NothingToPlotError."""
    path = run / METRICS_FILE
    if not path.exists():
        raise NothingToPlotError(f"{run}: is not a run directory: it has no {METRICS_FILE}")
    lines = [line for line in read_history(path) if line.get("episodeReturn") is not None]
    if not lines:
        raise NothingToPlotError(f"{run}: no episode has ended yet, so there is no return to plot")
    x = _hours(lines) if axis == "hours" else np.array([line[axis] for line in lines], np.float64)
    y = np.array([line["episodeReturn"] for line in lines], np.float64)
    config = _configuration(run)
    if config is None:
        return Curve(label=run.name, name=str(run), family=str(run), x=x, y=y)
    label = f"{config.environment.id} {config.algorithm.name.value}, {config.job}"
    neutral = replace(config, seed=0, job="any", simulators=SimulatorsConfig())
    return Curve(label=label, name=run.resolve().name, family=dump(neutral), x=x, y=y)


def average_seeds(curves: Sequence[Curve]) -> list[Band]:
    """One band a family, in the order of their first runs. Seeds are compared where all of them have got to."""
    families: dict[str, list[Curve]] = {}
    for curve in curves:
        families.setdefault(curve.family, []).append(curve)
    labels = Counter(family[0].label for family in families.values())
    return [_band(family, named=labels[family[0].label] > 1) for family in families.values()]


def draw(bands: Sequence[Band], axis: str, output: Path) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for band in bands:
        (line,) = axes.plot(band.x, band.mean, label=band.label, linewidth=1.8)
        for curve in band.curves:
            axes.plot(curve.x, curve.y, color=line.get_color(), linewidth=0.7, alpha=0.6)
        axes.fill_between(band.x, band.low, band.high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel(AXES[axis])
    axes.set_ylabel("mean return of the last episodes")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(output, dpi=120)


def _band(curves: Sequence[Curve], *, named: bool) -> Band:
    label = curves[0].label + (f", {curves[0].name}" if named else "")
    if len(curves) == 1:
        x, mean = curves[0].x, curves[0].y
        return Band(label=label, curves=(), x=x, mean=mean, low=mean, high=mean)
    first, last = max(curve.x[0] for curve in curves), min(curve.x[-1] for curve in curves)
    x = np.linspace(first, max(first, last), POINTS)
    y = np.stack([np.interp(x, curve.x, curve.y) for curve in curves])
    return Band(label=f"{label} ({len(curves)} seeds)", curves=curves, x=x, mean=y.mean(0), low=y.min(0), high=y.max(0))


def _hours(lines: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Of training: the time between a stop and the resume after it does not count."""
    seconds = np.array([datetime.fromisoformat(line["time"]).timestamp() for line in lines])
    attempts = np.array([line["attempt"] for line in lines])
    trained = np.where(np.diff(attempts) == 0, np.diff(seconds), 0.0)
    hours: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(trained)]) / 3600
    return hours


def _configuration(run: Path) -> TrainerConfig | None:
    """None for a history that was moved away from its run."""
    try:
        return load_trainer_config(run / "config" / "job.json")
    except (OSError, ConfigurationErrors):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="stepstream plot", description="Learning curves of one or several runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--output", type=Path, help="PNG to write (default: RUN/curve.png, or curves.png for several)")
    parser.add_argument("--x", choices=AXES, default="steps", dest="axis", help="horizontal axis (default: steps)")
    options = parser.parse_args(arguments)
    output = options.output or (options.runs[0] / "curve.png" if len(options.runs) == 1 else Path("curves.png"))
    try:
        draw(average_seeds([read_curve(run, options.axis) for run in options.runs]), options.axis, output)
    except (NothingToPlotError, OSError) as error:
        print(f"stepstream plot: {error}", file=sys.stderr)
        return contract.EXIT_INVALID
    print(output)
    return contract.EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
