"""The last known state of the objects a reflector follows, indexed by the job they belong to."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable

from stepstream_operator.runtime.resources import Object

Key = tuple[str, str]
"""Namespace and name."""

Owner = Callable[[Object], Key | None]
"""The key of the job an object belongs to; None where it belongs to none."""

Changed = Callable[[Key], None]
"""Told the job's key whenever something that belongs to it changed."""


def key_of(item: Object) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(item: Object) -> int:
    """Resource versions of one kind are ordered integers (Kubernetes API conventions since v1.35)."""
    return int(item["metadata"]["resourceVersion"])


class Store:
    """Thread-safe. Never goes back in time: an older version of an object it already holds is ignored.

    Nor does an answer to our own write that comes late bring back what has been deleted since. Lists and watches tell
    things in order, so what they told up to some version and is not held is not there.
    """

    def __init__(self, owner: Owner, changed: Changed) -> None:
        self._owner, self._changed = owner, changed
        self._lock = threading.Lock()
        self._items: dict[Key, Object] = {}
        self._owned: dict[Key, set[Key]] = defaultdict(set)
        self._told_up_to: dict[str | None, int] = defaultdict(int)
        """Resource versions by namespace, and for all of them at None."""

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Key) -> Object | None:
        with self._lock:
            return self._items.get(key)

    def owned_by(self, job: Key) -> list[Object]:
        with self._lock:
            return [self._items[key] for key in sorted(self._owned.get(job, ()))]

    def all(self) -> list[Object]:
        with self._lock:
            return list(self._items.values())

    def put(self, item: Object) -> None:
        """An object that was added or changed, from the watch."""
        with self._lock:
            self._advance(key_of(item)[0], version_of(item))
            touched = self._replace_older(item)
        self._tell(touched)

    def wrote(self, item: Object) -> None:
        """An object as the answer to our own write has it, before or after the watch tells of it."""
        namespace = key_of(item)[0]
        with self._lock:
            known = max(self._told_up_to[namespace], self._told_up_to[None])
            if self._items.get(key_of(item)) is None and version_of(item) <= known:
                return
            touched = self._replace_older(item)
        self._tell(touched)

    def discard(self, item: Object) -> None:
        """An object that is gone, from the watch; a later one of the same name stays."""
        with self._lock:
            self._advance(key_of(item)[0], version_of(item))
            held = self._items.get(key_of(item))
            if held is None or (held["metadata"]["uid"] != item["metadata"]["uid"] and _is_older(item, held)):
                return
            touched = self._remove(held)
        self._tell(touched)

    def replace(self, items: Iterable[Object], listed_at: int, namespace: str | None = None) -> None:
        """A complete list, of one namespace or all, taken at resource version `listed_at`.

        Tells only the jobs whose objects differ.
        """
        with self._lock:
            self._advance(namespace, listed_at)
            listed = {key_of(item): item for item in items}
            touched: set[Key] = set()
            for key, held in list(self._items.items()):
                concerned = namespace in (None, key[0])
                if concerned and key not in listed and version_of(held) <= listed_at:
                    touched |= self._remove(held)
            for item in listed.values():
                touched |= self._replace_older(item)
        self._tell(touched)

    def _advance(self, namespace: str | None, version: int) -> None:
        self._told_up_to[namespace] = max(self._told_up_to[namespace], version)

    def _replace_older(self, item: Object) -> set[Key]:
        previous = self._items.get(key_of(item))
        if previous is not None and not _is_newer(item, previous):
            return set()
        return self._remove(previous) | self._insert(item)

    def _insert(self, item: Object) -> set[Key]:
        self._items[key_of(item)] = item
        job = self._owner(item)
        if job is None:
            return set()
        self._owned[job].add(key_of(item))
        return {job}

    def _remove(self, item: Object | None) -> set[Key]:
        if item is None:
            return set()
        self._items.pop(key_of(item), None)
        job = self._owner(item)
        if job is None:
            return set()
        self._owned[job].discard(key_of(item))
        if not self._owned[job]:
            del self._owned[job]
        return {job}

    def _tell(self, jobs: set[Key]) -> None:
        for job in jobs:
            self._changed(job)


def _is_older(item: Object, held: Object) -> bool:
    return version_of(item) < version_of(held)


def _is_newer(item: Object, held: Object) -> bool:
    return version_of(item) > version_of(held)
