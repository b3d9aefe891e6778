"""A work queue of keys, in the manner of client-go's.

    add ──> waiting ──get──> in work ──done──> (added meanwhile? waiting again)
    add_after / retry ──> delayed ──(due)──> waiting

A key waits at most once and is worked on by one worker at a time; what is added during the work is worked on after it.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

Key = TypeVar("Key")
_jitter = random.Random()  # of its own: a global generator belongs to whoever seeds it


class QueueObserver(Protocol):
    """Counts what happens to the queue; every method is called with the queue's lock held and must be quick."""

    def added(self) -> None: ...
    def retried(self) -> None: ...
    def depth(self, waiting: int) -> None: ...
    def waited(self, seconds: float) -> None: ...


class _Silent:
    def added(self) -> None:
        """Nobody counts."""

    def retried(self) -> None:
        """Nobody counts."""

    def depth(self, waiting: int) -> None:
        """Nobody counts."""

    def waited(self, seconds: float) -> None:
        """Nobody counts."""


class WorkQueue(Generic[Key]):
    """Thread-safe. Delays are measured with `clock`, which must be monotonic."""

    def __init__(
        self,
        *,
        backoff_seconds: float = 0.2,
        longest_backoff_seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        observer: QueueObserver | None = None,
    ) -> None:
        self._backoff_seconds, self._longest_seconds = backoff_seconds, longest_backoff_seconds
        self._clock = clock
        self._observer: QueueObserver = observer or _Silent()
        self._condition = threading.Condition()
        self._waiting: OrderedDict[Key, float] = OrderedDict()
        self._in_work: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, tuple[float, int, Key]] = {}
        self._delayed: list[tuple[float, int, Key]] = []
        """A heap of what is due, by time, and of entries that hold no more: `_due` has those that do."""
        self._sequence = 0
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key) -> None:
        """Work on `key` soon. An earlier delay for it is forgotten."""
        with self._condition:
            self._add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on `key` in that time at the latest: of several delays the shortest holds."""
        if seconds <= 0:
            self.add(key)
            return
        with self._condition:
            due, known = self._clock() + seconds, self._due.get(key)
            if self._closed or (known is not None and known[0] <= due):
                return
            self._sequence += 1
            entry = self._due[key] = (due, self._sequence, key)
            heapq.heappush(self._delayed, entry)
            self._drop_what_holds_no_more()
            self._condition.notify_all()

    def retry(self, key: Key) -> float:
        """Work on `key` after a failure, later each time; returns the delay in seconds."""
        with self._condition:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._observer.retried()
        longest = min(self._longest_seconds, self._backoff_seconds * 2 ** min(failures - 1, 30))
        delay = _jitter.uniform(longest / 2, longest)
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """The next failure of `key` starts from the shortest back-off again."""
        with self._condition:
            self._failures.pop(key, None)

    def get(self, timeout_seconds: float | None = None) -> Key | None:
        """The next key, now in work until `done(key)`. None after the time limit or when closed."""
        limit = None if timeout_seconds is None else self._clock() + timeout_seconds
        with self._condition:
            while not self._closed:
                self._move_due()
                if self._waiting:
                    return self._take()
                patience = self._patience(limit)
                if patience is not None and patience <= 0:
                    return None
                self._condition.wait(patience)
            return None

    def done(self, key: Key) -> None:
        with self._condition:
            self._in_work.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def close(self) -> None:
        """Wakes every waiting worker with None."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _add(self, key: Key) -> None:
        if self._closed:
            return
        self._due.pop(key, None)
        if key in self._in_work:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = self._clock()
            self._observer.added()
            self._observer.depth(len(self._waiting))
            self._condition.notify()

    def _take(self) -> Key:
        key, since = self._waiting.popitem(last=False)
        self._in_work.add(key)
        self._observer.depth(len(self._waiting))
        self._observer.waited(self._clock() - since)
        return key

    def _move_due(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)
            if self._due.get(entry[2]) is entry:
                self._add(entry[2])

    def _drop_what_holds_no_more(self) -> None:
        """Once it outweighs the rest: a job looked at every few seconds leaves an entry for a far day each time."""
        if len(self._delayed) > 2 * len(self._due) + 64:
            self._delayed = sorted(self._due.values())  # sorted is a heap too

    def _patience(self, limit: float | None) -> float | None:
        moments = [moment for moment in (limit, self._delayed[0][0] if self._delayed else None) if moment is not None]
        return min(moments) - self._clock() if moments else None
