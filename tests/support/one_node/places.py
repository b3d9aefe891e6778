"""Where the cluster keeps what it has on disk, and its addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

HOST_ADDRESS: Final = "10.250.0.1"
"""The machine's end of the pair of interfaces that joins it to the node."""
NODE_ADDRESS: Final = "10.250.0.2"
NODE: Final = "node"
POD_RANGE: Final = "10.244.0.0/24"
SERVICE_RANGE: Final = "10.96.0.0/16"
DNS_ADDRESS: Final = "10.96.0.10"
API_SERVICE_ADDRESS: Final = "10.96.0.1"
SERVER: Final = f"https://{NODE_ADDRESS}:6443"
ETCD: Final = "http://127.0.0.1:2379"
CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
"""/run is the node's own."""


def root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stepstream" / "cluster"


def folder(name: str) -> Path:
    path = root() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def state(name: str) -> Path:
    """A file or folder that one life of the cluster has."""
    return folder("state") / name


def kubeconfig() -> Path:
    return state("admin.conf")


def log(name: str) -> Path:
    return folder("log") / f"{name}.log"
