"""pytest fixtures: one control plane for the session, clean namespaces and proxies for each test."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kubernetes.client
import pytest

from stepstream_operator.api.crd import crd
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client, load_configuration
from stepstream_operator.runtime.resources import Object, Resource
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.fault_proxy import FaultProxy
from tests.support.last_lines import tell
from tests.support.running_operator import CRDS, Cluster, start_operator
from tests.support.tools import CONTROL_PLANE, seconds_to_build

NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace")
SERVICE_ACCOUNTS = Resource(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount")
NODE_KIND = Resource(group="", version="v1", plural="nodes", kind="Node")
NODES = 4
_RUNNING = pytest.StashKey[list[ControlPlane]]()

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """One for all tests, with the definition of TrainingJob."""
    with running_control_plane(request.config, prepare=install_definition) as cluster:
        yield cluster


@contextmanager
def running_control_plane(
    config: pytest.Config, prepare: Callable[[Client], None] = lambda admin: None
) -> Iterator[ControlPlane]:
    """etcd, API server, controller manager, scheduler, and kwok's nodes; the programs are built on first use."""
    cluster = ControlPlane()
    begun = time.monotonic()
    admin = Client(load_configuration(str(cluster.kubeconfig)))
    try:
        cluster.start(lambda: prepare(admin))
        wait_for_service_account(admin, "default")
        add_nodes(admin, NODES)
        started = time.monotonic() - begun
        tell(config, f"control plane: {_cold_build()} (cold), at work {started:.1f} s after that (warm)")
        config.stash.setdefault(_RUNNING, []).append(cluster)
        yield cluster
    finally:
        cluster.stop()


def _cold_build() -> str:
    seconds = seconds_to_build(*CONTROL_PLANE)
    return "programs not built here" if seconds is None else f"programs built in {seconds:.0f} s, once"


def stop_control_planes(config: pytest.Config) -> None:
    """Those of this process, idle as they are: they would take a tenth of the machine from the tests that come."""
    for cluster in config.stash.get(_RUNNING, []):
        cluster.stop()
    config.stash[_RUNNING] = []


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Client:
    return Client(load_configuration(str(control_plane.kubeconfig)), connections=128)


@pytest.fixture
def namespace(admin: Client) -> str:
    """A fresh namespace in which the `restricted` Pod Security level is enforced."""
    return create_namespace(admin)


def create_namespace(admin: Client) -> str:
    name = f"t{next(_numbers)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    admin.create(NAMESPACES, "", body)
    wait_for_service_account(admin, name)
    return name


def install_definition(admin: Client, definition: Object | None = None) -> None:
    """A CustomResourceDefinition, TrainingJob's where none is named, established."""
    definition = definition or crd()
    admin.apply(CRDS, "", definition)
    name = definition["metadata"]["name"]

    def established() -> bool:
        conditions = (admin.get(CRDS, "", name) or {}).get("status", {}).get("conditions") or ()
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    eventually(established, timeout_seconds=30, what=f"the definition {name} is established")


def wait_for_service_account(admin: Client, namespace: str) -> None:
    """The controller manager makes it; pods are refused without it. After a restart of the API server it may look the
    other way for a minute: the longer that was gone, the longer clients back off."""
    what = f"the default service account of {namespace}"
    eventually(lambda: admin.get(SERVICE_ACCOUNTS, namespace, "default"), timeout_seconds=150, what=what)


def add_nodes(admin: Client, count: int) -> None:
    """Nodes that kwok keeps Ready; each has room for 250 pods."""
    room = {"cpu": "64", "memory": "512Gi", "pods": "250", "nvidia.com/gpu": "8"}
    for number in range(count):
        name = f"fake-{number}"
        labels = {"type": "kwok", "kubernetes.io/hostname": name}
        metadata = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
        status = {"allocatable": room, "capacity": room}
        admin.create(NODE_KIND, "", {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})


MakeProxy = Callable[..., FaultProxy]


@pytest.fixture
def make_proxy(control_plane: ControlPlane) -> Iterator[MakeProxy]:
    """Makes proxies in front of the API server; `stale_seconds` delays every read."""
    proxies: list[FaultProxy] = []
    certificate = control_plane.authority.client_pem("proxy.pem", "admin", "system:masters")

    def make(stale_seconds: float = 0.0) -> FaultProxy:
        proxy = FaultProxy(control_plane.server, control_plane.directory, certificate, stale_seconds=stale_seconds)
        proxies.append(proxy)
        return proxy

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def proxy(make_proxy: MakeProxy) -> FaultProxy:
    return make_proxy()


def client_through(proxy: FaultProxy, timeout_seconds: float = 5.0) -> Client:
    """A client whose every request goes through `proxy`."""
    configuration = kubernetes.client.Configuration(host=proxy.url)
    return Client(configuration, timeout_seconds=timeout_seconds)


@pytest.fixture
def cluster(admin: Client, namespace: str) -> Iterator[Cluster]:
    cluster = Cluster(admin, namespace)
    yield cluster
    cluster.learners.close()


StartOperator = Callable[..., Operator]


@pytest.fixture
def start(cluster: Cluster, make_proxy: MakeProxy) -> Iterator[StartOperator]:
    """Starts operators for the cluster's namespace, each behind a proxy of its own unless one is given."""
    running: list[tuple[Operator, FaultProxy]] = []

    def started(proxy: FaultProxy | None = None, **changes: Any) -> Operator:
        through = proxy or make_proxy()
        running.append((start_operator(cluster, through, **changes), through))
        return running[-1][0]

    yield started
    for operator, through in running:
        through.cut()
        operator.stop()


@pytest.fixture
def operator(start: StartOperator, proxy: FaultProxy) -> Operator:
    return start(proxy)
