"""Metric definitions: each metric is defined once, with its unit and meaning, and docs/metrics.md is made from them.

A package declares its metrics in one file through a Catalogue; a process registers them with a registry of its own.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, disable_created_metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric. `unit` is what a value of 1 means; ratios have the unit "1"."""

    name: str
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return type(self).__name__.removesuffix("Metric").lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterMetric(Metric):
    """Only rises, from 0 at the start of the process."""

    def register(self, registry: CollectorRegistry) -> Counter:
        return Counter(self.name, self.meaning, self.labels, registry=registry)


@dataclass(frozen=True, kw_only=True, slots=True)
class GaugeMetric(Metric):
    """How things stand now."""

    def register(self, registry: CollectorRegistry) -> Gauge:
        return Gauge(self.name, self.meaning, self.labels, registry=registry)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistogramMetric(Metric):
    """How often a value fell below each of `buckets`."""

    buckets: tuple[float, ...]

    def register(self, registry: CollectorRegistry) -> Histogram:
        return Histogram(self.name, self.meaning, self.labels, registry=registry, buckets=self.buckets)


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryMetric(Metric):
    """Sum and count: their rates divide to a mean over any time."""

    def register(self, registry: CollectorRegistry) -> Summary:
        return Summary(self.name, self.meaning, self.labels, registry=registry)


_M = TypeVar("_M", bound=Metric)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every metric of one package, in the order of definition. `prefix` starts each name."""

    prefix: str
    title: str
    metrics: list[Metric] = field(default_factory=list)

    def counter(self, name: str, *, unit: str, meaning: str, labels: tuple[str, ...] = ()) -> CounterMetric:
        return self._add(CounterMetric(name=self.prefix + name, unit=unit, meaning=meaning, labels=labels))

    def gauge(self, name: str, *, unit: str, meaning: str, labels: tuple[str, ...] = ()) -> GaugeMetric:
        return self._add(GaugeMetric(name=self.prefix + name, unit=unit, meaning=meaning, labels=labels))

    def summary(self, name: str, *, unit: str, meaning: str, labels: tuple[str, ...] = ()) -> SummaryMetric:
        return self._add(SummaryMetric(name=self.prefix + name, unit=unit, meaning=meaning, labels=labels))

    def histogram(
        self, name: str, *, unit: str, meaning: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> HistogramMetric:
        return self._add(
            HistogramMetric(name=self.prefix + name, unit=unit, meaning=meaning, labels=labels, buckets=buckets)
        )

    def _add(self, metric: _M) -> _M:
        self.metrics.append(metric)
        return metric


def new_registry() -> CollectorRegistry:
    """A registry of a process's own, without the `_created` series that would double the size of a scrape."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()
