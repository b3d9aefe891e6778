"""The namespaces that the node lives in: mounts, network and processes, held by one process that is their init."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support.daemons import LESS_COLLECTING, eventually
from tests.support.one_node import places

# Own /run and container logs, so that nothing of the node is seen outside. The kubelet wants mounts to be shared with
# its containers. tini reaps the containers' shims, which are nobody's children.
INIT = """
mount --make-rshared /
mkdir -p /var/lib/cni /var/log/containers
for folder in /run /var/lib/cni /var/log/containers; do mount -t tmpfs tmpfs $folder; done
ip link set lo up
exec tini -s -- sleep infinity
"""
INTERFACE = "stepstream0"
ROUTED = (places.POD_RANGE, places.SERVICE_RANGE)
_DETACHED: list[subprocess.Popen[bytes]] = []
"""Nobody waits for them; Python warns of such as are forgotten."""


def holder() -> int | None:
    """The init's process, if it lives."""
    file = places.state("holder.pid")
    pid = int(file.read_text()) if file.exists() else 0
    return pid if pid and _is_init(pid) else None


def create() -> None:
    flags = ["--mount", "--propagation", "private", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    outer = _detached(["unshare", *flags, "sh", "-ec", INIT], subprocess.DEVNULL)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")

    def born() -> bool:
        assert outer.poll() is None, "the node's namespaces could not be made: is this root, with all its rights?"
        found = children.read_text().split()
        if found:
            places.state("holder.pid").write_text(found[0])
        return holder() is not None

    eventually(born, timeout_seconds=60, what="the node's namespaces exist")
    _join_networks()


def destroy() -> None:
    """Ends every process, mount and interface of the node."""
    pid = holder()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), timeout_seconds=30, what="the node's processes ended")
    subprocess.run(["ip", "link", "delete", INTERFACE], capture_output=True)
    _remove_control_groups()


def inside(*command: str) -> list[str]:
    pid = holder()
    assert pid is not None, "the cluster is not up"
    return ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", "--", *command]


def inside_network(*command: str) -> list[str]:
    """With the machine's own files."""
    return ["nsenter", "--target", str(holder()), "--net", "--", *command]


def run(*command: str) -> str:
    """What the command prints. Raises CalledProcessError."""
    return subprocess.run(inside(*command), stdout=subprocess.PIPE, text=True, check=True).stdout


def succeeds(*command: str) -> bool:
    return subprocess.run(inside(*command), capture_output=True).returncode == 0


def start(name: str, *command: str) -> None:
    """A daemon of the node, which lives as long as that, or until `end`. Its output goes to its log."""
    with places.log(name).open("ab") as output:
        outer = _detached(inside(*command), output.fileno())
    places.state(f"{name}.pid").write_text(str(outer.pid))


def end(name: str) -> None:
    """Ends a daemon without a word."""
    outer = int(places.state(f"{name}.pid").read_text())
    for pid in Path(f"/proc/{outer}/task/{outer}/children").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: not _runs(outer), timeout_seconds=30, what=f"{name} has ended")


def _detached(command: list[str], output: int) -> subprocess.Popen[bytes]:
    """A process that outlives this one, and keeps nobody's pipe open."""
    process = subprocess.Popen(
        command,
        env=os.environ | LESS_COLLECTING,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    _DETACHED.append(process)
    return process


def _runs(pid: int) -> bool:
    """A child that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_init(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "tini"
    except OSError:
        return False


def _join_networks() -> None:
    """One pair of interfaces; pods and Services are reached over it."""
    node = ["ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "eth0", "netns", str(holder())]
    commands = [
        node,
        ["ip", "address", "add", f"{places.HOST_ADDRESS}/24", "dev", INTERFACE],
        ["ip", "link", "set", INTERFACE, "up"],
        inside("ip", "address", "add", f"{places.NODE_ADDRESS}/24", "dev", "eth0"),
        inside("ip", "link", "set", "eth0", "up"),
        inside("ip", "route", "add", "default", "via", places.HOST_ADDRESS),
        inside("sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1"),
        *(["ip", "route", "add", routed, "via", places.NODE_ADDRESS] for routed in ROUTED),
    ]
    for command in commands:
        subprocess.run(command, check=True)
    # Traffic from pod to pod through a Service must pass the node's rules though it stays on the bridge.
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "br_netfilter"], capture_output=True)
    succeeds("sysctl", "--quiet", "--write", "net.bridge.bridge-nf-call-iptables=1")


def _remove_control_groups() -> None:
    """They outlive their processes, deepest first."""
    mounts = Path("/sys/fs/cgroup")
    for group in (*mounts.glob("kubepods"), *mounts.glob("*/kubepods")):
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()
