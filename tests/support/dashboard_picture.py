"""A picture of a dashboard without Grafana: its panels, drawn from Prometheus' answers to their own queries.

    python -m tests.support.dashboard_picture --minutes 8 docs/dashboard-job.png

trains a job on a cluster (the one that $KUBECONFIG names, or one of our own), watches it with Prometheus as the chart
configures it, and draws the job dashboard in the end. Titles, places, units and legends are the JSON's; the looks are
matplotlib's. Rows about what the job does not do can be left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.support.cluster_prometheus import configuration_of, watching
from tests.support.dashboards import DASHBOARDS, View, legend
from tests.support.monitored_jobs import PPO, RESOURCES, cartpole
from tests.support.prometheus import Points
from tests.support.real_cluster import USER_NAMESPACE, real_cluster, released, user_of
from tests.support.real_job import RealJob

COLUMNS = 24
INCHES = (0.72, 0.34)
"""Of one cell of the grid."""
MARGIN_INCHES = (0.62, 0.24, 0.52, 0.42)
"""Of a panel: left, right, below (for the legend), above (for the title)."""
COLOURS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0")
"""Of Grafana's classic palette."""
PREFIXES = ((1e9, "B"), (1e6, "M"), (1e3, "K"))
SECONDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SCRAPE_SECONDS = 5
JOB = "cartpole"
Panel = dict[str, Any]


def worded(value: float, unit: str) -> str:
    """A value in one of Grafana's units, with three figures."""
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "s":
        for size, name in SECONDS:
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return "0 s" if value == 0 else f"{value * 1e6:.2g} µs"
    if unit == "short":
        for size, name in PREFIXES:
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def kept(panels: Sequence[Panel], without: Sequence[str]) -> Iterator[Panel]:
    """The panels without some rows, moved up into the gaps."""
    gone, shift, top = False, 0, 0
    for panel in panels:
        if panel["type"] == "row":
            if gone:
                shift += panel["gridPos"]["y"] - top
            gone, top = panel["title"] in without, panel["gridPos"]["y"]
        if not gone:
            yield panel | {"gridPos": panel["gridPos"] | {"y": panel["gridPos"]["y"] - shift}}


def draw(dashboard: Mapping[str, Any], view: View, variables: Mapping[str, str], without: Sequence[str]) -> Figure:
    panels = list(kept(dashboard["panels"], without))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(COLUMNS * INCHES[0], rows * INCHES[1]), facecolor="#f4f5f5")
    for panel in panels:
        if panel["type"] == "row":
            figure.text(
                0.1 / (COLUMNS * INCHES[0]),
                1 - (panel["gridPos"]["y"] + 0.75) / rows,
                f"▾ {panel['title']}",
                weight="bold",
                size=11,
            )
            continue
        bare = panel["type"] == "stat"
        frame = figure.add_axes(_box(panel, rows, (0.04, 0.04, 0.04, 0.04)), facecolor="white", xticks=[], yticks=[])
        frame.spines[:].set_color("#dcdfe3")
        frame.set_title(panel["title"], loc="left", size=9, weight="bold", x=0.02, y=1.0, pad=-13)
        axes = figure.add_axes(_box(panel, rows, (0.05, 0.05, 0.05, 0.4) if bare else MARGIN_INCHES), facecolor="none")
        drawn = [
            (legend(target["legendFormat"], labels) or "Value", points)
            for target in panel["targets"]
            for labels, points in view.asked(target, variables)
        ]
        (_stat if bare else _series)(axes, panel, drawn, view)
    return figure


def _box(panel: Panel, rows: int, margins: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel's inside as parts of the figure."""
    left, right, below, above = margins
    place = panel["gridPos"]
    width, height = COLUMNS * INCHES[0], rows * INCHES[1]
    bottom = height - (place["y"] + place["h"]) * INCHES[1]
    inner = place["w"] * INCHES[0] - left - right, place["h"] * INCHES[1] - below - above
    return (place["x"] * INCHES[0] + left) / width, (bottom + below) / height, inner[0] / width, inner[1] / height


def _stat(axes: Axes, panel: Panel, drawn: Sequence[tuple[str, Points]], view: View) -> None:
    """The latest number, before its history."""
    axes.axis("off")
    text = "No data"
    for _, points in drawn:
        times, values = zip(*points, strict=True)
        axes.fill_between(times, values, min(values), color=COLOURS[0], alpha=0.25, linewidth=0)
        axes.set_xlim(view.start, view.end)
        text = worded(values[-1], panel["fieldConfig"]["defaults"]["unit"])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", size=19, color="#37872d")


def _series(axes: Axes, panel: Panel, drawn: Sequence[tuple[str, Points]], view: View) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes.tick_params(labelsize=7, length=0, colors="#54585f")
    axes.spines[:].set_visible(False)
    axes.grid(color="#e9ebee", linewidth=0.7)
    axes.set_axisbelow(True)
    if not drawn:
        axes.axis("off")
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", va="center", size=11, color="#8e8e8e")
        return
    below: dict[float, float] = {}
    for at, (name, points) in enumerate(sorted(drawn)):
        colour = COLOURS[at % len(COLOURS)]
        times = [datetime.fromtimestamp(moment, UTC) for moment, _ in points]
        if "stacking" in defaults["custom"]:
            floor = [below.get(moment, 0.0) for moment, _ in points]
            below |= {moment: below.get(moment, 0.0) + value for moment, value in points}
            ceiling = [below[moment] for moment, _ in points]
            axes.fill_between(times, floor, ceiling, color=colour, alpha=0.7, linewidth=0, label=name)
        else:
            values = [value for _, value in points]
            axes.plot(times, values, color=colour, linewidth=1.2, label=name)
    if "stacking" in defaults["custom"]:
        axes.set_ylim(0, 1)
    elif min(value for _, points in drawn for _, value in points) >= 0:
        axes.set_ylim(0, 1.1 * max(value for _, points in drawn for _, value in points) or 1)
    axes.set_xlim(datetime.fromtimestamp(view.start, UTC), datetime.fromtimestamp(view.end, UTC))
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=6))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: worded(value, defaults["unit"])))
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.1, -0.1),
        ncols=4,
        fontsize=6.5,
        frameon=False,
        handlelength=1,
        columnspacing=1,
    )


def job() -> dict[str, Any]:
    """Two learners that share a store, each served by a simulator, with evaluations and checkpoints."""
    steady = PPO["parameters"] | {"learningRate": 3e-4, "discount": 0.98, "gaeLambda": 0.8, "clipRange": 0.2}
    return cartpole(
        JOB,
        algorithm={"name": "APPO", "parameters": steady},
        mode="Async",
        learners={"replicas": 2, "environments": 8, "resources": RESOURCES},
        simulators={"replicas": 2, "resources": RESOURCES},
        evaluation={"intervalSteps": 50_000, "episodes": 5},
        checkpoint={"intervalSeconds": 60},
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.support.dashboard_picture", description="The job dashboard as a PNG.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=8, help="how long the job trains (default: 8)")
    parser.add_argument("--without", nargs="*", default=["Replay"], help="rows to leave out (default: Replay)")
    arguments = parser.parse_args()
    dashboard = json.loads(next(path for path in DASHBOARDS if path.stem == "job").read_text())
    interval = {"interval": f"{SCRAPE_SECONDS}s", "scrapeTimeout": f"{SCRAPE_SECONDS}s"}
    values = {"prometheusConfig": {"enabled": True}, "podMonitor": interval}
    with (
        tempfile.TemporaryDirectory() as home,
        real_cluster(lambda line: print(line, file=sys.stderr)) as cluster,
        released(cluster, Path(home), **values) as release,
        watching(cluster, configuration_of(cluster, release)) as prometheus,
        user_of(cluster) as user,
    ):
        RealJob(kubectl=user, name=JOB).apply(job())
        RealJob(kubectl=user, name=JOB).reaches("Running", timeout_seconds=240)
        start = time.time()
        time.sleep(60 * arguments.minutes)
        view = View(prometheus=prometheus, start=start, end=time.time(), scrape_seconds=SCRAPE_SECONDS)
        figure = draw(dashboard, view, {"namespace": USER_NAMESPACE, "training_job": JOB}, arguments.without)
        figure.savefig(arguments.output, dpi=75)
        user("delete", "tjob", JOB, "--timeout=110s")


if __name__ == "__main__":
    main()
