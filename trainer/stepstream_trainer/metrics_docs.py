"""docs/metrics.md, written from the metric definitions: those of both roles, and others that are handed in."""

from collections.abc import Iterator

from stepstream_trainer.learner.metric_catalogue import CATALOGUE as LEARNER
from stepstream_trainer.metrics import Catalogue, Metric
from stepstream_trainer.simulator.metrics import CATALOGUE as SIMULATOR

_INTRODUCTION = """\
# Metrics

<!-- Generated from the metric definitions by `make docs`; change those, not this page. -->

Learners and simulators answer `/metrics` in the Prometheus text format on port 9090 (a Unix socket or `--http-port`
under `stepstream run`), the operator on port 8080. A step is one agent action in one environment; frames are steps x
frame skip. Counters start at 0 with the process. Histograms come with `_bucket`, `_sum` and `_count`, summaries with
`_sum` and `_count`.
"""


def render(*others: Catalogue) -> str:
    """The whole page, with a section for each of `others` at its end."""
    sections = [line for catalogue in (LEARNER, SIMULATOR, *others) for line in _section(catalogue)]
    return "\n".join([_INTRODUCTION, *sections])


def _section(catalogue: Catalogue) -> Iterator[str]:
    yield f"## {catalogue.title}\n"
    yield "| metric | kind | unit | meaning |"
    yield "| --- | --- | --- | --- |"
    for metric in catalogue.metrics:
        yield f"| `{metric.name}{_labels(metric)}` | {metric.kind} | {metric.unit} | {metric.meaning} |"
    yield ""


def _labels(metric: Metric) -> str:
    return "{" + ",".join(metric.labels) + "}" if metric.labels else ""
