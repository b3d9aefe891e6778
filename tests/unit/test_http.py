"""The small HTTP server: what it answers, what it refuses, and what it survives. Real sockets throughout."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepstream_trainer.http import MAX_CONNECTIONS, CannotListenError, Endpoints, HttpServer
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.simulator.metrics import SimulatorMetrics

NOTHING = Endpoints(registry=new_registry(), status=dict, healthy=lambda: None, ready=lambda: None)


@contextmanager
def serving(address: str = "127.0.0.1:0", *, unhealthy: str | None = None) -> Iterator[HttpServer]:
    registry = new_registry()
    SimulatorMetrics(registry)
    endpoints = Endpoints(
        registry=registry, status=lambda: {"steps": 7}, healthy=lambda: unhealthy, ready=lambda: "no slots yet"
    )
    server = HttpServer(address, endpoints)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(server: HttpServer) -> socket.socket:
    if server.address.startswith("unix:"):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(60)
        peer.connect(server.address.removeprefix("unix:"))
        return peer
    host, port = server.address.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def get(server: HttpServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = connect(server)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_four_endpoints_answer_on_both_kinds_of_socket(kind: str, tmp_path: Path) -> None:
    with serving("127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/h") as server:
        assert get(server, "/healthz") == (200, "ok\n")
        assert get(server, "/readyz") == (503, "no slots yet\n")
        assert json.loads(get(server, "/status")[1]) == {"steps": 7}
        assert "stepstream_simulator_steps_total 0.0" in get(server, "/metrics")[1]
        assert get(server, "/elsewhere")[0] == 404


def test_an_unhealthy_process_says_why() -> None:
    with serving(unhealthy="the loop stands still") as server:
        assert get(server, "/healthz") == (503, "the loop stands still\n")


def test_an_address_in_use_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for address in ("127.0.0.1:0", f"unix:{tmp_path}/h"):
        with serving(address) as server, pytest.raises(CannotListenError, match="already in use by another process"):
            HttpServer(server.address, NOTHING)


def test_a_socket_left_by_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"{tmp_path}/h")
    left.close()
    with serving(f"unix:{tmp_path}/h") as server:
        assert get(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("nonsense", 'expected "host:port" or "unix:/path"'),
        ("127.0.0.1:99999", "the port must be 0 to 65535"),
        ("unix:/nowhere/at/all", "No such file or directory"),
        ("unix:/" + "x" * 120, "AF_UNIX path too long"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_a_sentence(address: str, problem: str) -> None:
    with pytest.raises(CannotListenError, match=re.escape(f"cannot listen on {address}: {problem}")):
        HttpServer(address, NOTHING)


def test_more_connections_than_allowed_are_closed_and_the_server_goes_on() -> None:
    with serving() as server:
        idle = [connect(server) for _ in range(MAX_CONNECTIONS)]
        one_too_many = connect(server)
        assert one_too_many.recv(1) == b""
        for peer in [*idle, one_too_many]:
            peer.close()
        assert any(get_or_none(server, "/healthz") == (200, "ok\n") for _ in range(1000))


def get_or_none(server: HttpServer, path: str) -> tuple[int, str] | None:
    try:
        return get(server, path)
    except (http.client.HTTPException, OSError):
        return None


def test_stopping_removes_the_socket(tmp_path: Path) -> None:
    with serving(f"unix:{tmp_path}/h"):
        pass
    assert list(tmp_path.iterdir()) == []
