"""How many jobs are in each phase, as a gauge."""

from __future__ import annotations

import threading
from collections import Counter

from prometheus_client import Gauge

from stepstream_operator.runtime.store import Key


class PhaseCounts:
    """Thread-safe: counted and published under one lock, lest an older count be published last. No phase that some job
    is in is ever missing, whenever the gauge is read."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._lock = threading.Lock()
        self._phases: dict[Key, str] = {}
        self._published: set[str] = set()

    def put(self, job: Key, phase: str) -> None:
        with self._lock:
            if self._phases.get(job) != phase:
                self._phases[job] = phase
                self._publish()

    def forget(self, job: Key) -> None:
        with self._lock:
            if self._phases.pop(job, None) is not None:
                self._publish()

    def _publish(self) -> None:
        counts = Counter(self._phases.values())
        for phase, count in counts.items():
            self._gauge.labels(phase).set(count)
        for phase in self._published - counts.keys():
            self._gauge.remove(phase)
        self._published = set(counts)
