"""The small HTTP server of learners and simulators: /metrics, /status, /healthz and /readyz, over TCP or a Unix socket.

Bounded in every direction: one short GET a connection, a time limit on reading it, and at most MAX_CONNECTIONS at once;
one more is closed unread. Handlers only read snapshots, so a slow or hostile client costs the loop nothing.
"""

import errno
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

MAX_CONNECTIONS = 32
REQUEST_TIMEOUT_SECONDS = 5.0
_UNIX = "unix:"


class CannotListenError(Exception):
    """The address cannot be listened on; the message is one sentence for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """What the server answers from. `healthy` and `ready` give nothing, or the sentence that says why not."""

    registry: CollectorRegistry
    status: Callable[[], Mapping[str, Any]]
    healthy: Callable[[], str | None]
    ready: Callable[[], str | None]


class HttpServer:
    """Listens on "host:port" (0 picks a port; see `address`) or "unix:/path" once made; answers from `start` on."""

    def __init__(self, address: str, endpoints: Endpoints) -> None:
        """Raises CannotListenError."""
        handler = type("Handler", (_Handler,), {"endpoints": endpoints})
        self._server = _listen(address, handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, with the port that was picked."""
        bound: Any = self._server.server_address
        return f"{_UNIX}{bound}" if isinstance(bound, str) else f"{bound[0]}:{bound[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        if isinstance(self._server, _UnixServer):
            os.unlink(str(self._server.server_address))


class _Handler(BaseHTTPRequestHandler):
    """One GET, one answer, connection closed (HTTP/1.0). Owner thread: one a connection."""

    endpoints: Endpoints
    timeout = REQUEST_TIMEOUT_SECONDS
    server_version = "stepstream"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(self.endpoints.registry), CONTENT_TYPE_PLAIN_0_0_4)
        elif path == "/status":
            self._answer(200, json.dumps(self.endpoints.status()).encode(), "application/json")
        elif path == "/healthz":
            self._answer_probe(self.endpoints.healthy())
        elif path == "/readyz":
            self._answer_probe(self.endpoints.ready())
        else:
            self._answer(404, b"try /metrics, /status, /healthz or /readyz\n", "text/plain")

    def _answer_probe(self, problem: str | None) -> None:
        self._answer(200 if problem is None else 503, ((problem or "ok") + "\n").encode(), "text/plain")

    def _answer(self, code: int, body: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "peer"  # a Unix peer has no address, and TCP ones are not looked up

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes every few seconds are not news."""


class _BoundedThreads(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A thread a connection, MAX_CONNECTIONS at most."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: Any, handler: type[_Handler]) -> None:
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away mid-answer is its own affair."""


class _TcpServer(_BoundedThreads, socketserver.TCPServer):
    allow_reuse_address = True


class _UnixServer(_BoundedThreads, socketserver.UnixStreamServer):
    pass


def _listen(address: str, handler: type[_Handler]) -> socketserver.BaseServer:
    try:
        if address.startswith(_UNIX):
            path = address.removeprefix(_UNIX)
            remove_stale_socket(path)
            return _UnixServer(path, handler)
        host, _, port = address.rpartition(":")
        return _TcpServer((host.strip("[]"), int(port)), handler)
    except (OSError, OverflowError, ValueError) as error:
        raise CannotListenError(f"cannot listen on {address}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OverflowError):
        return "the port must be 0 to 65535"
    if isinstance(error, ValueError):
        return 'expected "host:port" or "unix:/path"'
    assert isinstance(error, OSError)
    if error.errno == errno.EADDRINUSE:
        return "the address is already in use by another process; choose another or stop that process"
    return error.strerror or str(error)


def remove_stale_socket(path: str) -> None:
    """Remove a Unix socket that a killed process left behind. OSError (EADDRINUSE) if someone still listens there."""
    if not os.path.exists(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
