"""Asks a process for its /status, on this machine or in a pod."""

import http.client
import json
import socket
import time
from typing import Any

TIMEOUT_SECONDS = 0.5
MAX_BYTES = 1 << 20


def fetch_status(address: str, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any] | None:
    """The JSON object at "host:port" or "unix:/path"; None while nobody answers there, all of it, in time."""
    connection = _Connection(address, timeout_seconds)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        status = json.loads(answer.read(MAX_BYTES)) if answer.status == http.client.OK else None
        return status if isinstance(status, dict) else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """Its time is for the whole answer: http.client's is for each piece, of which a peer may send any number."""

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else None
        super().__init__("localhost" if self._path else address, timeout=timeout_seconds)
        self._deadline = time.monotonic() + timeout_seconds

    def connect(self) -> None:
        if self._path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        else:
            super().connect()
        self.sock = _DeadlineSocket(self.sock, self._deadline)


class _DeadlineSocket(socket.socket):
    """Receives until `deadline`, in monotonic seconds."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__(fileno=connected.detach())
        self._deadline = deadline

    def recv_into(self, *arguments: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)
        return super().recv_into(*arguments)
