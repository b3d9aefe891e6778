"""What a PromQL expression names, and which series our processes really have."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser

from stepstream_operator.metrics import CATALOGUE as OPERATOR
from stepstream_trainer.learner.metric_catalogue import CATALOGUE as LEARNER
from stepstream_trainer.metrics import Catalogue, Metric
from stepstream_trainer.simulator.metrics import CATALOGUE as SIMULATOR

CATALOGUES: tuple[Catalogue, ...] = (LEARNER, SIMULATOR, OPERATOR)
TARGET_LABELS = frozenset({"namespace", "pod", "role", "training_job", "le"})
"""What a scrape adds to every series, and histograms to their buckets."""

_SERIES = re.compile(r"\b(stepstream_\w+)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|ignoring|on)\s*\(([^)]*)\)")


def series() -> dict[str, frozenset[str]]:
    """Every series name that can be scraped -> its own labels."""
    return {
        name: frozenset(metric.labels)
        for catalogue in CATALOGUES
        for metric in catalogue.metrics
        for name in _series_of(metric)
    }


def _series_of(metric: Metric) -> Iterator[str]:
    if metric.kind in ("histogram", "summary"):
        yield from (f"{metric.name}_sum", f"{metric.name}_count")
    if metric.kind == "histogram":
        yield f"{metric.name}_bucket"
    if metric.kind in ("gauge", "counter"):
        yield metric.name


def named_series(expression: str) -> dict[str, set[str]]:
    """Series named in an expression -> the labels it is selected by."""
    found: dict[str, set[str]] = {}
    for name, matchers in _SERIES.findall(expression):
        found.setdefault(name, set()).update(_MATCHER.findall(matchers))
    return found


def grouping_labels(expression: str) -> set[str]:
    """Labels of every by, without, ignoring and on clause."""
    return {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",") if label.strip()}


def problems(expression: str) -> list[str]:
    """Why the expression cannot be parsed, or else what it names and no process has."""
    try:
        promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    except ValueError as error:
        return [str(error)]
    known, named = series(), named_series(expression)
    own = frozenset().union(*(known.get(name, frozenset()) for name in named))
    unknown = [f"no series {name}" for name in named if name not in known]
    for name, labels in named.items():
        unknown += [f"{name} has no label {label}" for label in labels - known.get(name, frozenset()) - TARGET_LABELS]
    unknown += [f"nothing here has the label {label}" for label in grouping_labels(expression) - own - TARGET_LABELS]
    return unknown
