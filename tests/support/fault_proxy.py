"""A proxy in front of the real API server that misbehaves on demand, on real sockets.

    operator ──HTTP──> FaultProxy ──TLS, client certificate──> kube-apiserver

It answers errors, resets or hangs connections, breaks watches, serves every read some seconds late, and counts writes
to cut the operator off after the k-th.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.stale_reads import StaleReads, lines_of

UPSTREAM_TIMEOUT_SECONDS = 400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"

    @property
    def is_write(self) -> bool:
        """A change to the cluster; renewing a Lease and dry runs are none."""
        return self.method != "GET" and "/leases" not in self.path and "dryRun" not in self.query


class CutOff(Exception):
    """The connection ends here, without an answer."""


@dataclass(kw_only=True, slots=True)
class Fault:
    """What happens to the next `times` requests that match.

    `answer`: an HTTP status and body instead of the server's. `hang`: no byte until the proxy closes. `reset`: a TCP
    reset. `delay_seconds`: before passing on. `watch_line`: put into the stream of a watch after `after_events` events;
    then it goes on, or with `reset`/`hang` breaks there.
    """

    matches: Callable[[Request], bool]
    times: int = 1
    answer: tuple[int, bytes] | None = None
    hang: bool = False
    reset: bool = False
    delay_seconds: float = 0.0
    watch_line: bytes | None = None
    after_events: int = 0
    hit: threading.Event = field(default_factory=threading.Event)


def on(method: str = "", path: str = "", *, watch: bool | None = None) -> Callable[[Request], bool]:
    """Matches requests by method, part of the path, and whether they are watches."""

    def matches(request: Request) -> bool:
        return method in ("", request.method) and path in request.path and watch in (None, request.is_watch)

    return matches


def status_body(code: int, reason: str, message: str = "injected") -> bytes:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return json.dumps(body).encode()


class FaultProxy:
    """`url` is where the operator connects. `cut` makes it dead to the operator for good."""

    def __init__(self, server: str, directory: Path, certificate: Path, *, stale_seconds: float = 0.0) -> None:
        split = urlsplit(server)
        self._address = (split.hostname or "", split.port or 0)
        self._context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        self._context.load_cert_chain(certificate)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.requests: list[Request] = []
        self.writes: list[Request] = []
        self.cut_after_writes: int | None = None
        self.was_cut = threading.Event()
        self.stale = StaleReads(self.upstream, stale_seconds) if stale_seconds else None
        self._http = _Server(("127.0.0.1", 0), _handler_for(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.cut()
        self._http.shutdown()
        self._http.server_close()
        if self.stale is not None:
            self.stale.close()

    def inject(self, *faults: Fault) -> None:
        with self._lock:
            self._faults.extend(faults)

    def reset_connections(self) -> None:
        """Resets the connections that are open now; new ones are served."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            reset(each)

    def cut(self) -> None:
        """Resets every connection and refuses new ones, as if the operator's machine had gone."""
        self.was_cut.set()
        self.reset_connections()

    def upstream(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._address, context=self._context, timeout=UPSTREAM_TIMEOUT_SECONDS)

    def admit(self, request: Request) -> Fault | None:
        """Records a request and returns the fault it meets. Raises CutOff after `cut`."""
        with self._lock:
            if self.was_cut.is_set():
                raise CutOff
            self.requests.append(request)
            for fault in self._faults:
                if fault.times > 0 and fault.matches(request):
                    fault.times -= 1
                    fault.hit.set()
                    return fault
        return None

    def count_write(self, request: Request, code: int) -> None:
        """Counts a write that the server has carried out. Raises CutOff after the last one allowed."""
        if not request.is_write or code >= 300:
            return
        with self._lock:
            self.writes.append(request)
            reached = self.cut_after_writes is not None and len(self.writes) >= self.cut_after_writes
        if reached:
            self.cut()
            raise CutOff

    def track(self, connection: socket.socket, *, alive: bool) -> None:
        with self._lock:
            (self._sockets.add if alive else self._sockets.discard)(connection)


def reset(connection: socket.socket) -> None:
    """Closes with a TCP reset rather than an orderly end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are this proxy's purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy
    _upstream: http.client.HTTPSConnection | None = None
    _upstream_socket: socket.socket
    _response: http.client.HTTPResponse | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """The tests' own assertions tell what matters."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.proxy.track(self.connection, alive=True)

    def finish(self) -> None:
        self.proxy.track(self.connection, alive=False)
        if self._upstream is not None:
            # The reset wakes a thread that still reads from it, without which closing would wait for that thread.
            reset(self._upstream_socket)
            self._upstream.close()
            if self._response is not None:
                self._response.close()
        super().finish()

    def handle_any(self) -> None:
        split = urlsplit(self.path)
        request = Request(
            method=self.command, path=split.path, query=dict(parse_qsl(split.query, keep_blank_values=True))
        )
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            fault = self.proxy.admit(request)
            if fault is not None and self._stopped_by(fault, request):
                return
            self._forward(request, body, fault if request.is_watch else None)
        except CutOff:
            self._break()
        except (http.client.HTTPException, OSError):
            self.close_connection = True

    def _stopped_by(self, fault: Fault, request: Request) -> bool:
        """Carries out a fault; whether the request ends with it."""
        if fault.delay_seconds:
            self.proxy.was_cut.wait(fault.delay_seconds)
        if fault.answer is not None:
            self._answer(*fault.answer)
            return True
        if fault.watch_line is not None or (request.is_watch and fault.after_events):
            return False
        if fault.hang:
            self.proxy.was_cut.wait()
        if fault.hang or fault.reset:
            raise CutOff
        return False

    def _forward(self, request: Request, body: bytes, fault: Fault | None) -> None:
        if self._upstream is None:
            self._upstream = self.proxy.upstream()
        stale = self.proxy.stale
        target = self.path
        if stale is not None and request.method == "GET" and not request.is_watch:
            target = stale.rewritten(request.path, request.query)
        headers = {key: value for key, value in self.headers.items() if key.lower() in ("content-type", "accept")}
        self._upstream.request(request.method, target, body=body or None, headers=headers)
        self._upstream_socket = self._upstream.sock
        response = self._response = self._upstream.getresponse()
        if request.is_watch and response.status == 200:
            self._stream(response, fault)
            return
        data = response.read()
        self.proxy.count_write(request, response.status)
        if target != self.path and stale is not None:
            self._answer(*stale.narrowed(request.path, response.status, data))
        else:
            self._answer(response.status, data)

    def _stream(self, response: http.client.HTTPResponse, fault: Fault | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        stale = self.proxy.stale
        with contextlib.closing(stale.delayed(response) if stale is not None else lines_of(response)) as lines:
            for number, line in enumerate(lines):
                if fault is not None and number == fault.after_events:
                    self._interrupt(fault)
                self._chunk(line)
        self._chunk(b"")
        # The upstream connection has carried an endless answer: it is not used again.
        self.close_connection = True

    def _interrupt(self, fault: Fault) -> None:
        if fault.watch_line is not None:
            self._chunk(fault.watch_line + b"\n")
        if fault.hang:
            self.proxy.was_cut.wait()
        if fault.hang or fault.reset:
            raise CutOff

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break(self) -> None:
        reset(self.connection)
        self.close_connection = True


def _handler_for(proxy: FaultProxy) -> type[_Handler]:
    methods = {f"do_{method}": _Handler.handle_any for method in ("GET", "POST", "PATCH", "DELETE", "PUT")}
    return type("Handler", (_Handler,), {"proxy": proxy} | methods)
