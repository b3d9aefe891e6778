"""Leadership by a Lease, for operators of which only one may act.

The holder renews every `retry_seconds`. Others compare what they see with a monotonic clock of their own: a Lease that
has not changed for its duration is free, whatever the clocks of its writers say. A leader that could not renew for
`renew_deadline_seconds` stops acting before anyone else may start (`renew_deadline < lease_duration`): every write
asks `ensure_leading` first, and a watchdog in its own thread ends the process, so that no worker of a deposed leader
goes on.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError, RequestFailed
from stepstream_operator.runtime.resources import LEASES, Object
from stepstream_trainer.logs import get_log

log = get_log("operator.elector")


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseSettings:
    """client-go's defaults."""

    name: str
    namespace: str
    lease_duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0


class NotLeading(RequestFailed):
    """A write was attempted without holding the Lease."""

    @property
    def is_temporary(self) -> bool:
        return True


class Elector:
    """Follows one Lease. `lost` is called once, from a thread of the elector, and is expected to end the process."""

    def __init__(
        self,
        client: Client,
        settings: LeaseSettings,
        identity: str,
        lost: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._settings, self.identity, self._lost, self._clock = client, settings, identity, lost, clock
        self._renewed_at: float | None = None
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._deposed = threading.Lock()
        """Taken once, by the first to see it."""
        self.leading = threading.Event()

    def ensure_leading(self) -> None:
        """Raises NotLeading unless the Lease was renewed within the renew deadline."""
        renewed_at = self._renewed_at
        if renewed_at is None or self._clock() - renewed_at > self._settings.renew_deadline_seconds:
            raise NotLeading(f"{self.identity} does not hold the Lease {self._settings.name}")

    def run(self, stop: threading.Event) -> None:
        """Acquires, then renews until `stop`; then gives the Lease back."""
        threading.Thread(target=self._watchdog, args=(stop,), name="lease-watchdog", daemon=True).start()
        while not stop.is_set():
            self.attempt()
            stop.wait(self._settings.retry_seconds)
        self._release()

    def attempt(self) -> None:
        """One try to acquire or renew."""
        started = self._clock()
        try:
            held = self._take_or_renew()
        except RequestFailed as error:
            log.warning("lease_request_failed", lease=self._settings.name, error=str(error))
            return
        if held:
            # Counted from before the request: when the write took effect is not known better than that.
            self._renewed_at = started
            if not self.leading.is_set():
                log.info("leading", lease=self._settings.name, identity=self.identity)
                self.leading.set()
        elif self.leading.is_set():
            self._depose("another holds the Lease")

    def _take_or_renew(self) -> bool:
        lease = self._client.get(LEASES, self._settings.namespace, self._settings.name)
        if lease is None:
            return self._create()
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder and holder != self.identity and not self._has_expired(lease):
            return False
        if holder != self.identity and self.leading.is_set():
            return False
        return self._write(lease, changes_hands=holder != self.identity)

    def _has_expired(self, lease: Object) -> bool:
        """Whether the Lease has stood unchanged, as seen from here, for as long as its holder promised to renew it."""
        seen = (lease["metadata"]["uid"], lease["metadata"]["resourceVersion"])
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        promised = (lease.get("spec") or {}).get("leaseDurationSeconds") or self._settings.lease_duration_seconds
        return self._clock() - self._seen_at > float(promised)

    def _create(self) -> bool:
        spec = self._spec(transitions=0) | {"acquireTime": _micro_time()}
        metadata = {"name": self._settings.name, "namespace": self._settings.namespace}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        try:
            self._client.create(LEASES, self._settings.namespace, body)
        except ApiError as error:
            if error.code == 409:
                return False
            raise
        return True

    def _write(self, lease: Object, *, changes_hands: bool) -> bool:
        transitions = int((lease.get("spec") or {}).get("leaseTransitions") or 0)
        spec = self._spec(transitions=transitions + changes_hands)
        if changes_hands:
            spec["acquireTime"] = _micro_time()
        body = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}
        try:
            self._client.merge(LEASES, self._settings.namespace, self._settings.name, body)
        except ApiError as error:
            # A leader that meets another's harmless write (an annotation) tries again within its deadline.
            if changes_hands and (error.is_conflict or error.is_not_found):
                return False
            raise
        return True

    def _spec(self, *, transitions: int) -> Object:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._settings.lease_duration_seconds)),
            "renewTime": _micro_time(),
            "leaseTransitions": transitions,
        }

    def _watchdog(self, stop: threading.Event) -> None:
        while not stop.wait(min(0.5, self._settings.renew_deadline_seconds / 10)):
            if not self.leading.is_set():
                continue
            try:
                self.ensure_leading()
            except NotLeading:
                self._depose("the Lease could not be renewed in time")
                return

    def _depose(self, reason: str) -> None:
        self._renewed_at = None
        if self._deposed.acquire(blocking=False):
            log.error("lease_lost", lease=self._settings.name, identity=self.identity, reason=reason)
            self._lost(reason)

    def _release(self) -> None:
        if not self.leading.is_set():
            return
        self._renewed_at = None
        body: Object = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time()}}
        try:
            lease = self._client.get(LEASES, self._settings.namespace, self._settings.name)
            if lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                body["metadata"] = {"resourceVersion": lease["metadata"]["resourceVersion"]}
                self._client.merge(LEASES, self._settings.namespace, self._settings.name, body)
        except RequestFailed as error:
            log.warning("lease_not_released", error=str(error))


def _micro_time() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
