"""The API server's time, so that deadlines do not depend on this machine's clock.

Every answer carries a `Date`; between two answers a monotonic clock goes on from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


class ServerClock:
    """Thread-safe. Exact to about a second, the resolution of `Date`; never goes backwards."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._at: tuple[datetime, float] | None = None
        self._latest = datetime.min.replace(tzinfo=UTC)

    def heard(self, date: str | None) -> None:
        """A `Date` header, just received. What cannot be read is ignored."""
        try:
            moment = parsedate_to_datetime(date or "")
        except (TypeError, ValueError):
            return
        with self._lock:
            self._at = (moment, self._monotonic())

    def now(self) -> datetime:
        """Before the first answer, this machine's own time."""
        with self._lock:
            if self._at is None:
                return datetime.now(UTC)
            moment, heard_at = self._at
            self._latest = max(self._latest, moment + timedelta(seconds=self._monotonic() - heard_at))
            return self._latest


def parse_time(text: str) -> datetime:
    """A Kubernetes timestamp (RFC 3339)."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
