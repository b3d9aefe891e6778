"""How a request to the API server can fail.

RequestFailed
├── ApiError        the server answered with an error status
└── Unreachable     no usable answer: refused, reset, timed out, cut short, not JSON
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEMPORARY_CODES = frozenset({408, 409, 410, 429, 500, 502, 503, 504})


class RequestFailed(Exception):
    """A request did not succeed."""

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later without anybody changing anything."""
        raise NotImplementedError


class Unreachable(RequestFailed):
    """The server gave no usable answer; a write may or may not have happened."""

    @property
    def is_temporary(self) -> bool:
        return True


class ApiError(RequestFailed):
    """The server's `Status` answer. `reason` is the machine's word (`AlreadyExists`), `message` the person's."""

    def __init__(self, *, code: int, reason: str, message: str, causes: tuple[str, ...] = ()) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message, self.causes = code, reason, message, causes

    @classmethod
    def from_status(cls, code: int, status: Mapping[str, Any]) -> ApiError:
        details = status.get("details")
        causes = details.get("causes") if isinstance(details, Mapping) else None
        named = tuple(
            f"{cause['field']}: {cause.get('message', '')}"
            for cause in (causes if isinstance(causes, list) else ())
            if isinstance(cause, Mapping) and "field" in cause
        )
        message = str(status.get("message") or "no message")
        return cls(code=code, reason=str(status.get("reason") or "Unknown"), message=message, causes=named)

    @property
    def is_temporary(self) -> bool:
        return self.code in TEMPORARY_CODES

    @property
    def is_not_found(self) -> bool:
        return self.code == 404

    @property
    def is_conflict(self) -> bool:
        """Someone else wrote first, or what was to be deleted is another object by now."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def is_gone(self) -> bool:
        """The resource version asked for is older than what the server still knows."""
        return self.code == 410

    @property
    def is_quota(self) -> bool:
        return self.code == 403 and "exceeded quota" in self.message

    @property
    def is_namespace_ending(self) -> bool:
        """Nothing can be created because the namespace is being deleted."""
        return self.code in (403, 404) and (
            any("NamespaceTerminating" in cause for cause in self.causes)
            or "because it is being terminated" in self.message
        )
