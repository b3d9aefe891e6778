"""Keeps a Store equal to what the API server holds.

    list (in pages) ──> watch from there ──(ended normally)──> watch on from the last version seen
         ^                    │
         │<───────────────────┤ 410 Gone: the version is too old to go on from
         │<── back-off ───────┘ reset, half-open, undecodable, 5xx: list again, since anything may have been missed

A half-open connection is noticed by the read timeout: the server sends a bookmark about once a minute, so silence for
longer means nobody is there. Whatever else is raised here is a defect, and ends the thread: a store that nobody keeps
must end its process too (`end_process_on_defects`).
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError, RequestFailed, Unreachable
from stepstream_operator.runtime.resources import Object, Resource
from stepstream_operator.runtime.store import Store, version_of
from stepstream_trainer.logs import get_log

log = get_log("operator.reflector")
_jitter = random.Random()  # of its own: a global generator belongs to whoever seeds it


@dataclass(frozen=True, kw_only=True, slots=True)
class ReflectorSettings:
    page_size: int = 500
    # The server ends a watch after this; with jitter, so that watches do not all end together.
    watch_seconds: int = 300
    # Above the minute between two bookmarks.
    read_timeout_seconds: float = 90.0
    backoff_seconds: float = 0.5
    longest_backoff_seconds: float = 30.0


class Reflector:
    """One collection, in one namespace or all, followed by one thread in `run`."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        store: Store,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        keep: Callable[[Object], Object] = lambda item: item,
        settings: ReflectorSettings | None = None,
        on_relist: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._resource, self.store, self._namespace = client, resource, store, namespace
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        self._keep = keep
        self._settings = settings or ReflectorSettings()
        self._on_relist, self._clock = on_relist, clock
        self._version = ""
        self.synced = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Lists and watches until `stop`; returns within one read timeout.

        Failures count on though lists succeed: where watches alone fail, all would be listed again and again. They
        count anew after what went well for longer than the longest back-off.
        """
        failures = 0
        while not stop.is_set():
            began = self._clock()
            try:
                if not self._version:
                    self._list()
                self._watch(stop)
                failures = 0
            except RequestFailed as error:
                self._forget_version(error)
                went_well = self._clock() - began > self._settings.longest_backoff_seconds
                failures = 1 if went_well else failures + 1
                if not (isinstance(error, ApiError) and error.is_gone and failures == 1):
                    self._pause(failures, stop)

    def _list(self) -> None:
        items: list[Object] = []
        query = {"limit": str(self._settings.page_size)} | self._selector
        while True:
            page = self._client.list_page(self._resource, self._namespace, query)
            with self._reading(page):
                items += [self._kept(item) for item in page.get("items") or ()]
                metadata = page.get("metadata") or {}
                query["continue"] = metadata.get("continue") or ""
                version = str(metadata.get("resourceVersion") or "")
            if not query["continue"]:
                break
        if not version.isdecimal():
            raise Unreachable(f"the list of {self._resource.plural} has no resource version")
        self.store.replace(items, int(version), self._namespace)
        self._version = version
        self.synced.set()

    def _watch(self, stop: threading.Event) -> None:
        began, seconds = self._clock(), self._settings.watch_seconds * _jitter.uniform(1.0, 1.5)
        query = self._selector | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        timeout = self._settings.read_timeout_seconds
        for event in self._client.watch(self._resource, self._namespace, query, read_timeout_seconds=timeout):
            self._take(event)
            if stop.is_set():
                return
        if self._clock() - began < 1.0:
            # A server that ends every watch at once must not be asked in a tight loop.
            stop.wait(self._settings.backoff_seconds)

    def _take(self, event: Object) -> None:
        kind, item = event.get("type"), event.get("object")
        if not isinstance(item, dict):
            raise Unreachable(f"a watch event of {self._resource.plural} without an object")
        if kind == "ERROR":
            code = item.get("code")
            raise ApiError.from_status(code if isinstance(code, int) else 500, item)
        with self._reading(item):
            version = str(version_of(item))
        if kind == "DELETED":
            self.store.discard(self._kept(item))
        elif kind in ("ADDED", "MODIFIED"):
            self.store.put(self._kept(item))
        elif kind != "BOOKMARK":
            raise Unreachable(f"a watch event of unknown type {kind!r}")
        self._version = version

    def _kept(self, item: Object) -> Object:
        """The part that is stored. Raises Unreachable for what is no API object."""
        with self._reading(item):
            metadata = item["metadata"]
            metadata.pop("managedFields", None)
            version_of(item)
            # The items of a list leave out what the list says once.
            item.setdefault("apiVersion", self._resource.api_version)
            item.setdefault("kind", self._resource.kind)
            return self._keep(item) if metadata["name"] and metadata["uid"] else item

    @contextmanager
    def _reading(self, answer: object) -> Iterator[None]:
        """What the server sent is not of the shape agreed on: then there was no usable answer."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            sample = json.dumps(answer, default=str)[:200]
            raise Unreachable(f"not an object of {self._resource.plural}: {sample}") from error

    def _forget_version(self, error: RequestFailed) -> None:
        reason = "gone" if isinstance(error, ApiError) and error.is_gone else "error"
        log.warning("relist", resource=self._resource.plural, reason=reason, error=str(error))
        self._version = ""
        self._on_relist(reason)

    def _pause(self, failures: int, stop: threading.Event) -> None:
        settings = self._settings
        longest = min(settings.longest_backoff_seconds, settings.backoff_seconds * 2 ** min(failures, 16))
        stop.wait(_jitter.uniform(longest / 2, longest))
