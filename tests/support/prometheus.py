"""Prometheus over its HTTP API: what it answers, what it scrapes, and which rules fire."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

Labels = dict[str, str]
Points = list[tuple[float, float]]
"""Unix time and value."""


class Refused(AssertionError):
    """Prometheus did not answer, or not with success."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prometheus:
    """`url` is where its API begins to be, without a slash at the end."""

    url: str

    def query(self, expression: str, at: float) -> list[tuple[Labels, float]]:
        """The instant vector (or scalar's one value) at a time."""
        found = self._get("query", query=expression, time=f"{at:.3f}")["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def query_range(self, expression: str, *, start: float, end: float, step: float) -> list[tuple[Labels, Points]]:
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        found = self._get("query_range", query=expression, **times)["result"]
        return [(each["metric"], [(float(at), float(value)) for at, value in each["values"]]) for each in found]

    def label_values(self, label: str, series: str) -> list[str]:
        """As the query of a dashboard's variable asks for them."""
        return list(self._get(f"label/{label}/values", **{"match[]": series}))

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes now."""
        return list(self._get("targets", state="active")["activeTargets"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its state and its alerts, in the order of the rule file."""
        return [rule for group in self._get("rules", type="alert")["groups"] for rule in group["rules"]]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10):
                return True
        except OSError:
            return False

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(f"{parameters}: {error.code} {error.read().decode()}") from error
        assert said["status"] == "success"
        return said["data"]


def numbers(points: Points) -> Points:
    """Those that a panel would draw."""
    return [(at, value) for at, value in points if math.isfinite(value)]
