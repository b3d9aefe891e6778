"""Asks a process on this machine for its /status."""

import http.client
import json
import socket
from typing import Any

TIMEOUT_SECONDS = 0.5
MAX_BYTES = 1 << 20


def fetch_status(address: str, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any] | None:
    """The JSON object at "host:port" or "unix:/path"; None while nobody answers there in time."""
    is_unix = address.startswith("unix:")
    connection = (_UnixConnection if is_unix else http.client.HTTPConnection)(address, timeout=timeout_seconds)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        status = json.loads(answer.read(MAX_BYTES)) if answer.status == http.client.OK else None
        return status if isinstance(status, dict) else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, address: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = address.removeprefix("unix:")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
