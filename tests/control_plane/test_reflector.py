"""The reflector against a real API server, with a proxy between them that misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.reflector import Reflector, ReflectorSettings
from stepstream_operator.runtime.resources import CONFIG_MAPS, Object
from stepstream_operator.runtime.store import Key, Store
from tests.support.cluster_fixtures import client_through
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.fault_proxy import Fault, FaultProxy, on, status_body

pytestmark = pytest.mark.control_plane
LABEL = "stepstream.dev/test"
QUICK = ReflectorSettings(page_size=3, backoff_seconds=0.05, longest_backoff_seconds=0.2, read_timeout_seconds=1.0)


def config_map(name: str, value: str = "") -> Object:
    metadata = {"name": name, "labels": {LABEL: "yes"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


@dataclass
class Follower:
    """A reflector of a namespace's labelled ConfigMaps and what it has told."""

    reflector: Reflector
    relists: list[str]
    told: list[Key] = field(default_factory=list)

    def values(self) -> dict[str, str]:
        return {item["metadata"]["name"]: item["data"]["value"] for item in self.reflector.store.all()}


@pytest.fixture
def settings() -> ReflectorSettings:
    return QUICK


@pytest.fixture
def follower(proxy: FaultProxy, namespace: str, settings: ReflectorSettings) -> Iterator[Follower]:
    relists: list[str] = []
    told: list[Key] = []
    store = Store(owner=lambda item: (namespace, item["metadata"]["name"]), changed=told.append)
    reflector = Reflector(
        client_through(proxy, timeout_seconds=2.0),
        CONFIG_MAPS,
        store,
        namespace=namespace,
        label_selector=f"{LABEL}=yes",
        settings=settings,
        on_relist=relists.append,
    )
    stop = threading.Event()
    thread = threading.Thread(target=reflector.run, args=(stop,))
    thread.start()
    yield Follower(reflector, relists, told)
    stop.set()
    proxy.cut()
    thread.join(60)
    assert not thread.is_alive()


def holds(follower: Follower, expected: dict[str, str]) -> None:
    eventually(lambda: follower.values() == expected, timeout_seconds=60, what=f"the store holds {expected}")


def watching(follower: Follower, proxy: FaultProxy) -> None:
    assert follower.reflector.synced.wait(60)
    eventually(lambda: any(r.is_watch for r in proxy.requests), timeout_seconds=60, what="a watch")


def test_a_list_longer_than_a_page_is_read_whole(follower: Follower, admin: Client, namespace: str) -> None:
    for number in range(8):
        admin.create(CONFIG_MAPS, namespace, config_map(f"m{number}", "v"))
    holds(follower, {f"m{number}": "v" for number in range(8)})


def test_what_lacks_the_label_is_never_seen(follower: Follower, admin: Client, namespace: str) -> None:
    admin.create(CONFIG_MAPS, namespace, config_map("other") | {"metadata": {"name": "other"}})
    admin.create(CONFIG_MAPS, namespace, config_map("mine", "1"))
    holds(follower, {"mine": "1"})
    assert (namespace, "other") not in follower.told


@pytest.mark.parametrize("settings", [replace(QUICK, read_timeout_seconds=60.0)], ids=["patient"])
def test_changes_and_deletions_arrive_by_watch_alone(
    follower: Follower, proxy: FaultProxy, admin: Client, namespace: str
) -> None:
    watching(follower, proxy)
    admin.create(CONFIG_MAPS, namespace, config_map("a", "1"))
    admin.merge(CONFIG_MAPS, namespace, "a", {"data": {"value": "2"}})
    holds(follower, {"a": "2"})
    admin.delete(CONFIG_MAPS, namespace, "a")
    holds(follower, {})
    assert follower.relists == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(matches=on("GET", watch=False), times=3, answer=(500, status_body(500, "InternalError"))),
        Fault(matches=on("GET", watch=False), times=3, answer=(429, status_body(429, "TooManyRequests"))),
        Fault(matches=on("GET", watch=False), times=2, answer=(200, b'{"items": [')),
        Fault(matches=on("GET", watch=False), times=2, answer=(200, b'{"metadata": {}, "items": []}')),
        Fault(matches=on("GET", watch=False), times=2, answer=(200, b'{"metadata": {}, "items": ["a"]}')),
        Fault(matches=on("GET", watch=False), times=2, answer=(200, b'{"metadata": {}, "items": 7}')),
        Fault(matches=on("GET", watch=False), times=2, answer=(200, b'{"metadata": "none", "items": []}')),
        Fault(matches=on("GET", watch=False), times=2, answer=(200, b'{"items": ' + b"[" * 5000)),
        Fault(matches=on("GET", watch=False), times=2, answer=(500, b'{"details": "none"}')),
        Fault(matches=on("GET", watch=False), times=3, reset=True),
        Fault(matches=on("GET", watch=True), times=3, answer=(410, status_body(410, "Expired"))),
        Fault(matches=on("GET", watch=True), times=3, answer=(500, status_body(500, "InternalError"))),
        Fault(matches=on("GET", watch=True), times=2, reset=True),
        Fault(matches=on("GET", watch=True), hang=True),
        Fault(matches=on("GET", watch=False), hang=True),
        Fault(matches=on("GET", watch=False), delay_seconds=1.0),
    ],
    ids=["list 500", "list 429", "list cut short", "list without version", "list of words", "list of a number",
         "list without metadata", "list without end", "list 500 of its own making", "list reset", "watch 410",
         "watch 500", "watch reset", "watch half-open", "list half-open", "list slow"],
)  # fmt: skip
def test_the_store_recovers_from_a_fault(
    fault: Fault, follower: Follower, proxy: FaultProxy, admin: Client, namespace: str
) -> None:
    watching(follower, proxy)
    proxy.inject(fault, Fault(matches=on("GET", watch=True), reset=True))
    proxy.reset_connections()
    admin.create(CONFIG_MAPS, namespace, config_map("late", "1"))
    assert fault.hit.wait(60)
    holds(follower, {"late": "1"})


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "MODIFIED", "object": {"metadata"',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": "x"}}}',
        b'{"type": "MODIFIED"}',
        b'{"type": "SURPRISE", "object": {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}}}',
        b"[1, 2]",
        b'{"type": "MODIFIED", "object": {"metadata": "none"}}',
        b'{"type": "BOOKMARK", "object": {"kind": "ConfigMap"}}',
        b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "newest"}}}',
        b'{"type": "ERROR", "object": {"code": "gone", "details": ["gone"]}}',
        b"[" * 5000,
        b'{"type": "ERROR", "object": ' + status_body(410, "Expired") + b"}",
        b'{"type": "ERROR", "object": ' + status_body(500, "InternalError") + b"}",
    ],
    ids=["cut short", "no uid", "no object", "unknown type", "no mapping", "no metadata", "bookmark of nothing",
         "bookmark of no version", "error without a number", "without end", "gone", "internal error"],
)  # fmt: skip
def test_an_unusable_watch_event_leads_to_a_new_list(
    line: bytes, follower: Follower, proxy: FaultProxy, admin: Client, namespace: str
) -> None:
    proxy.inject(Fault(matches=on("GET", watch=True), watch_line=line))
    watching(follower, proxy)
    admin.create(CONFIG_MAPS, namespace, config_map("a", "1"))
    eventually(lambda: follower.relists, timeout_seconds=60, what="a relist")
    holds(follower, {"a": "1"})


def test_a_connection_that_goes_silent_is_given_up_after_the_read_timeout(
    follower: Follower, proxy: FaultProxy, admin: Client, namespace: str
) -> None:
    fault = Fault(matches=on("GET", watch=True), after_events=1, hang=True)
    proxy.inject(fault)
    proxy.reset_connections()  # a watch may have begun before
    assert fault.hit.wait(60)
    follower.relists.clear()
    admin.create(CONFIG_MAPS, namespace, config_map("seen", "1"))
    admin.create(CONFIG_MAPS, namespace, config_map("unseen", "1"))
    holds(follower, {"seen": "1", "unseen": "1"})
    assert "error" in follower.relists


def test_an_object_deleted_and_made_again_between_two_lists_is_a_new_object(
    follower: Follower, proxy: FaultProxy, admin: Client, namespace: str
) -> None:
    first = admin.create(CONFIG_MAPS, namespace, config_map("a", "1"))
    holds(follower, {"a": "1"})
    proxy.inject(Fault(matches=on("GET"), times=4, answer=(500, status_body(500, "InternalError"))))
    proxy.reset_connections()
    admin.delete(CONFIG_MAPS, namespace, "a")
    second = admin.create(CONFIG_MAPS, namespace, config_map("a", "2"))
    holds(follower, {"a": "2"})
    assert follower.reflector.store.all()[0]["metadata"]["uid"] == second["metadata"]["uid"]
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


def test_a_list_that_expires_between_pages_is_started_again(
    follower: Follower, proxy: FaultProxy, admin: Client, namespace: str
) -> None:
    for number in range(5):
        admin.create(CONFIG_MAPS, namespace, config_map(f"m{number}", "v"))
    fault = Fault(matches=lambda request: "continue" in request.query, answer=(410, status_body(410, "Expired")))
    proxy.inject(fault)
    proxy.inject(Fault(matches=on("GET", watch=True), answer=(410, status_body(410, "Expired"))))
    proxy.reset_connections()
    assert fault.hit.wait(60)
    holds(follower, {f"m{number}": "v" for number in range(5)})


def test_a_restart_of_the_api_server_is_survived(
    follower: Follower, control_plane: ControlPlane, admin: Client, namespace: str
) -> None:
    admin.create(CONFIG_MAPS, namespace, config_map("before", "1"))
    holds(follower, {"before": "1"})
    control_plane.kill_api_server()
    control_plane.start_api_server()
    admin.create(CONFIG_MAPS, namespace, config_map("after", "2"))
    holds(follower, {"before": "1", "after": "2"})
