"""What can befall a node of our own, for as long as a block lasts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from charts.images.build import ROOT
from tests.support.one_node import control_plane, namespaces, places
from tests.support.one_node.node import ctr

RELAY_PORT = 17070
_TABLE = "stepstream_fault"


@contextmanager
def api_server_gone() -> Iterator[None]:
    namespaces.end("kube-apiserver")
    try:
        yield
    finally:
        control_plane.start_api_server()


@contextmanager
def network_cut(address: str) -> Iterator[None]:
    """No packet reaches the pod of this address or leaves it, but to and from the node itself: probes go on."""
    rules = f"ether type ip ip saddr {address} drop; ether type ip ip daddr {address} drop;"
    with _rules(f"table bridge {_TABLE} {{ chain forward {{ type filter hook forward priority 0; {rules} }}; }}"):
        yield


@contextmanager
def network_slow(address: str, port: int, seconds: float) -> Iterator[None]:
    """New connections from pods to that address and port go by way of a relay, which delays both directions.

    Such as exist go on as they are.
    """
    module = "tests.support.one_node.delaying_relay"
    command = [sys.executable, "-m", module, str(RELAY_PORT), address, str(port), str(seconds)]
    rule = f"ip saddr {places.POD_RANGE} ip daddr {address} tcp dport {port} redirect to :{RELAY_PORT}"
    with subprocess.Popen(namespaces.inside_network(*command), cwd=ROOT, stdout=subprocess.PIPE, text=True) as relay:
        try:
            assert relay.stdout is not None
            assert relay.stdout.readline() == "listening\n"
            with _rules(f"table ip {_TABLE} {{ chain to {{ type nat hook prerouting priority -110; {rule}; }}; }}"):
                yield
        finally:
            relay.kill()


@contextmanager
def frozen(container: str) -> Iterator[None]:
    """The first process of a container (its id, as the pod's status has it) is stopped."""
    pid = _pid(container)
    namespaces.run("kill", "-STOP", pid)
    try:
        yield
    finally:
        namespaces.succeeds("kill", "-CONT", pid)  # the kubelet may have ended it


@contextmanager
def small_volume(name: str, megabytes: int) -> Iterator[str]:
    """A folder of the node with so much room. Gives its path there."""
    path = str(places.state(name))
    namespaces.run("mkdir", "-p", path)
    namespaces.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", name, path)
    try:
        yield path
    finally:
        namespaces.run("umount", path)


@contextmanager
def full(path: str) -> Iterator[None]:
    """No room is left on a volume."""
    filler = f"{path}/filler"
    namespaces.run("sh", "-c", f"cat /dev/zero > {filler} 2>/dev/null || true")
    try:
        yield
    finally:
        namespaces.run("rm", filler)


@contextmanager
def _rules(table: str) -> Iterator[None]:
    family = table.split()[1]
    subprocess.run(namespaces.inside("nft", "-f", "-"), input=table, text=True, check=True)
    try:
        yield
    finally:
        namespaces.run("nft", "delete", "table", family, _TABLE)


def _pid(container: str) -> str:
    """In the node's own numbers."""
    tasks = namespaces.run(*ctr("tasks", "list")).splitlines()
    rows: Iterable[list[str]] = (row.split() for row in tasks)
    return next(row[1] for row in rows if row[0] == container)
