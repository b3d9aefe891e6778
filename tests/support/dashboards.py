"""The chart's dashboards as Grafana asks them: every panel's queries, with the dashboard's variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.helm import CHART
from tests.support.prometheus import Labels, Points, Prometheus, numbers

DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def expressions(path: Path) -> Iterator[str]:
    for panel in panels(path):
        yield from (target["expr"] for target in panel["targets"])


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A time range of a Prometheus that scrapes every so many seconds, as a panel of some hundred pixels shows it."""

    prometheus: Prometheus
    start: float
    end: float
    scrape_seconds: float
    pixels: int = 500

    @property
    def step(self) -> float:
        """Grafana's $__interval: the source's own is its least."""
        return max((self.end - self.start) / self.pixels, self.scrape_seconds)

    def filled(self, text: str, variables: Mapping[str, str]) -> str:
        """With the variables in, and $__rate_interval by Grafana's rule: four scrapes, so that a rate is seen."""
        own = {"__rate_interval": f"{max(self.step + self.scrape_seconds, 4 * self.scrape_seconds):.0f}s"}
        return _VARIABLE.sub(lambda match: (own | dict(variables))[match[1] or match[2]], text)

    def choices(self, dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, list[str]]:
        """Variable -> what a person can choose from, those of `variables` having been chosen."""
        found = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
                assert match, variable
                found[variable["name"]] = self.prometheus.label_values(match[2], self.filled(match[1], variables))
        return found

    def asked(self, target: Mapping[str, Any], variables: Mapping[str, str]) -> list[tuple[Labels, Points]]:
        """What the panel gets for one of its queries: series that have a number in the range."""
        expression = self.filled(target["expr"], variables)
        if target["instant"]:
            found = [(labels, [(self.end, value)]) for labels, value in self.prometheus.query(expression, at=self.end)]
        else:
            found = self.prometheus.query_range(expression, start=self.start, end=self.end, step=self.step)
        drawn = ((labels, numbers(points)) for labels, points in found)
        return [(labels, points) for labels, points in drawn if points]


def legend(form: str, labels: Labels) -> str:
    return _LEGEND.sub(lambda match: labels.get(match[1], ""), form)
