"""Asks learners for their /status: many at once, each for a bounded time, never within a reconcile.

reconcile(key) ──follow(key, address)──> poller ──every POLL_SECONDS, POLLERS threads──> GET http://pod-ip:9090/status
               <──────told(key)─────────        (the answer waits in `latest` for the next reconcile)
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stepstream_operator.local.status_client import fetch_status
from stepstream_operator.runtime.queue import WorkQueue
from stepstream_operator.runtime.store import Key
from stepstream_trainer.config.contract import HTTP_PORT

POLL_SECONDS = 15.0
TIMEOUT_SECONDS = 2.0
POLLERS = 8
_jitter = random.Random()  # of its own: a global generator belongs to whoever seeds it

StatusSource = Callable[[Mapping[str, Any]], str | None]
"""Where a learner's pod answers, as "host:port"; None while it has no address."""


def pod_address(pod: Mapping[str, Any]) -> str | None:
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return None
    return f"[{address}]:{HTTP_PORT}" if ":" in address else f"{address}:{HTTP_PORT}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A learner's last answer, and when it came by this process's monotonic clock."""

    attempt: int
    rank: int
    status: Mapping[str, Any]
    received: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    job: Key
    attempt: int
    rank: int
    address: str


class ProgressPoller:
    """Thread-safe. A job that is not followed any more costs nothing."""

    def __init__(
        self,
        told: Callable[[Key], None],
        *,
        poll_seconds: float = POLL_SECONDS,
        count: Callable[[str], None] = lambda result: None,
    ) -> None:
        self._told, self._poll_seconds, self._count = told, poll_seconds, count
        self._queue: WorkQueue[Key] = WorkQueue()
        self._lock = threading.Lock()
        self._targets: dict[Key, tuple[Target, ...]] = {}
        self._reports: dict[Key, dict[int, Report]] = {}
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def start(self) -> None:
        """Does nothing after `stop`, which another thread may call first."""
        threads = [threading.Thread(target=self._work, name=f"progress-{n}", daemon=True) for n in range(POLLERS)]
        with self._lock:
            if self._stopped:
                return
            for thread in threads:
                thread.start()
            self._threads = threads

    def stop(self) -> None:
        """Returns once the questions under way are answered, or their time is up."""
        self._queue.close()
        with self._lock:
            self._stopped, threads = True, self._threads
        for thread in threads:
            thread.join()

    def follow(self, job: Key, targets: tuple[Target, ...]) -> None:
        """Ask these learners from now on; none ends it and forgets what they said."""
        with self._lock:
            known = self._targets.get(job, ())
            if targets == known:
                return
            if not targets:
                self._targets.pop(job, None)
                self._reports.pop(job, None)
                return
            self._targets[job] = targets
            self._reports[job] = {
                report.rank: report
                for report in self._reports.get(job, {}).values()
                if report.attempt == targets[0].attempt
            }
        self._queue.add(job)

    def latest(self, job: Key) -> tuple[Report, ...]:
        """The learners' last answers by rank."""
        with self._lock:
            return tuple(report for _, report in sorted(self._reports.get(job, {}).items()))

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                targets = self._targets.get(job, ())
            changed = [self._ask(target) for target in targets]
            self._queue.done(job)
            if targets:
                # Jittered, so that the jobs of one start are not asked in step for ever.
                self._queue.add_after(job, self._poll_seconds * _jitter.uniform(0.8, 1.0))
            if any(changed):
                self._told(job)

    def _ask(self, target: Target) -> bool:
        """Whether the answer differs from the one before."""
        status = fetch_status(target.address, TIMEOUT_SECONDS)
        self._count("ok" if status is not None else "failed")
        if status is None:
            return False
        report = Report(attempt=target.attempt, rank=target.rank, status=status, received=time.monotonic())
        with self._lock:
            if target not in self._targets.get(target.job, ()):
                return False
            reports = self._reports[target.job]
            previous = reports.get(target.rank)
            reports[target.rank] = report
        return previous is None or previous.status != status
