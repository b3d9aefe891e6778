"""Puts the parts together and runs them.

reflectors (one thread a kind and namespace) ──changed job──> work queue ──> workers ──reconcile──> API server
progress poller (bounded threads) ──new /status──────────────────^              only while this process leads
elector (own thread and connections) ──lost──> the process ends
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import kubernetes.client

from stepstream_operator.controller.events import EventRecorder
from stepstream_operator.controller.job_log import JobLog, about
from stepstream_operator.controller.progress import ProgressPoller, StatusSource, pod_address
from stepstream_operator.controller.reconciler import Reconciler
from stepstream_operator.controller.watched import WATCHED, Stores
from stepstream_operator.metrics import OperatorMetrics
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.elector import Elector, LeaseSettings
from stepstream_operator.runtime.errors import RequestFailed
from stepstream_operator.runtime.queue import WorkQueue
from stepstream_operator.runtime.reflector import Reflector, ReflectorSettings
from stepstream_operator.runtime.resources import TRAINING_JOBS
from stepstream_operator.runtime.store import Key
from stepstream_operator.settings import OperatorSettings

log = JobLog("operator")
STOP_SECONDS = 10.0  # for workers, and again for the Lease: within the grace period of a pod
STUCK_SECONDS = 300.0  # a reconcile makes some ten requests, and each has 15 s


def end_process(reason: str) -> None:
    """At once, without tidying up: another process may lead already."""
    os._exit(1)


def end_process_on_defects() -> None:
    """From now on what a thread does not catch is logged and ends the process, for its Deployment to start it again.

    Otherwise the thread alone would be missing: an operator without the reflector of pods looks well and sees none.
    """

    def tell(_: threading.ExceptHookArgs) -> None:
        log.exception("thread_died")
        end_process("a thread died")

    threading.excepthook = tell


class Operator:
    """`start` once, `stop` once. `deposed` is called when the Lease is lost and is expected to end the process."""

    def __init__(
        self,
        settings: OperatorSettings,
        new_configuration: Callable[[], kubernetes.client.Configuration],
        *,
        deposed: Callable[[str], None] = end_process,
        status_source: StatusSource = pod_address,
    ) -> None:
        self.settings = settings
        self.metrics = OperatorMetrics()
        self.client = Client(new_configuration(), on_request=self.metrics.on_request)
        self.queue: WorkQueue[Key] = WorkQueue(observer=self.metrics)
        self.stores = Stores(self.queue.add)
        self._stop, self._resign = threading.Event(), threading.Event()
        self._lead = threading.Event()
        self.poller = ProgressPoller(
            self.queue.add, poll_seconds=settings.poll_seconds, count=lambda result: self._count_poll(result)
        )
        self.reconciler = Reconciler(
            client=self.client,
            stores=self.stores,
            poller=self.poller,
            events=EventRecorder(self.client, settings.identity),
            metrics=self.metrics,
            settings=settings,
            status_source=status_source,
        )
        self._reflectors = self._make_reflectors()
        self._elector = self._make_elector(new_configuration, deposed)
        self._beginning: list[threading.Thread] = []
        self._workers: list[threading.Thread] = []
        self._electing: list[threading.Thread] = []

    @property
    def synced(self) -> bool:
        return all(reflector.synced.is_set() for reflector in self._reflectors)

    @property
    def leading(self) -> bool:
        return self._lead.is_set()

    def start(self) -> None:
        for reflector in self._reflectors:
            self._run(reflector.run, self._stop)
        if self._elector is not None:
            self._electing.append(self._run(self._elector.run, self._resign))
        self._beginning.append(self._run(self._begin))

    def stop(self) -> None:
        """Lets reconciles that are under way finish, then gives the Lease back. Reflectors, which only read, end with
        their process."""
        self._stop.set()
        self.queue.close()
        _join(self._beginning)  # it may be starting workers
        _join(self._workers)
        self._resign.set()
        _join(self._electing)
        self.poller.stop()

    def unready(self) -> str | None:
        """Nothing, or why this process could not act if it led."""
        return None if self.synced else "waiting for the first lists from the API server"

    def unhealthy(self) -> str | None:
        stuck = self.reconciler.longest_seconds()
        return None if stuck < STUCK_SECONDS else f"one reconcile has taken {stuck:.0f} s"

    def _begin(self) -> None:
        """Waits for complete stores and for leadership, then lets the workers work."""
        leading = self._elector.leading if self._elector is not None else None
        while not self._stop.is_set():
            if self.synced and (leading is None or leading.is_set()):
                break
            self._stop.wait(0.02)
        if self._stop.is_set():
            return
        self._lead.set()
        self.metrics.leader.set(1)
        log.info("working", identity=self.settings.identity, jobs=len(self.stores[TRAINING_JOBS]))
        self.poller.start()
        self._workers += [self._run(self._work) for _ in range(self.settings.workers)]

    def _work(self) -> None:
        while (job := self.queue.get()) is not None:
            started = time.monotonic()
            try:
                with about(job, self._attempt(job)):
                    self._reconcile(job)
            finally:
                self.queue.done(job)
                self.metrics.reconcile_seconds.observe(time.monotonic() - started)

    def _reconcile(self, job: Key) -> None:
        log.debug("reconcile")
        try:
            again_in_seconds = self.reconciler.reconcile(job)
        except RequestFailed as error:
            self.metrics.reconcile_errors.labels("temporary" if error.is_temporary else "permanent").inc()
            delay = self.queue.retry(job)
            log.warning("retry", seconds=round(delay, 2), error=str(error))
        except Exception:
            self.metrics.reconcile_errors.labels("defect").inc()
            delay = self.queue.retry(job)
            log.exception("reconcile_failed", seconds=round(delay, 2))
        else:
            self.queue.succeeded(job)
            if again_in_seconds is not None:
                self.queue.add_after(job, again_in_seconds)

    def _attempt(self, job: Key) -> int:
        """As it was written last; 0 before the first."""
        raw = self.stores[TRAINING_JOBS].get(job) or {}
        return int((raw.get("status") or {}).get("attempt") or 0)

    def _make_reflectors(self) -> list[Reflector]:
        settings = ReflectorSettings(read_timeout_seconds=self.settings.watch_read_timeout_seconds)
        return [
            Reflector(
                self.client,
                watched.resource,
                self.stores[watched.resource],
                namespace=namespace,
                label_selector=watched.label_selector,
                keep=watched.keep,
                settings=settings,
                on_relist=self._relist_counter(watched.resource.plural),
            )
            for namespace in (self.settings.namespaces or (None,))
            for watched in WATCHED
        ]

    def _relist_counter(self, plural: str) -> Callable[[str], None]:
        return lambda reason: self.metrics.relists.labels(plural, reason).inc()

    def _make_elector(
        self, new_configuration: Callable[[], kubernetes.client.Configuration], deposed: Callable[[str], None]
    ) -> Elector | None:
        if not self.settings.lease_namespace:
            return None
        seconds = self.settings.lease_seconds
        lease = LeaseSettings(
            name=self.settings.lease_name,
            namespace=self.settings.lease_namespace,
            lease_duration_seconds=seconds,
            renew_deadline_seconds=seconds * 2 / 3,
            retry_seconds=seconds * 2 / 15,
        )
        # Two tries within the renew deadline.
        client = Client(new_configuration(), timeout_seconds=seconds / 4, on_request=self.metrics.on_request)
        elector = Elector(client, lease, self.settings.identity, deposed)
        self.client.before_write = elector.ensure_leading
        return elector

    def _count_poll(self, result: str) -> None:
        self.metrics.status_polls.labels(result).inc()

    @staticmethod
    def _run(target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        return thread


def _join(threads: list[threading.Thread]) -> None:
    end = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
