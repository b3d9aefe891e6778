"""A real Kubernetes control plane as plain processes on loopback: no root, no namespaces, no containers.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and kwok in place of nodes: pods are bound, become
Ready and go away as on a cluster, but run nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.support.daemons import Daemon, eventually, free_ports
from tests.support.pki import Authority
from tests.support.tools import binary, kwok_stages

START_SECONDS = 90.0
# Without the stages that complete the pods of a Job at once: tests decide when a learner ends.
KWOK_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
)
MEMORY = Path("/dev/shm")
NEEDED_BYTES = 2 << 30


class ControlPlane:
    """One cluster in one temporary folder; `start` once, `stop` once."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="stepstream-cluster-", dir=_memory()))
        self.etcd_port, self.peer_port, self.api_port, kcm, scheduler, kwok = free_ports(6)
        self.server = f"https://127.0.0.1:{self.api_port}"
        self.authority = Authority(self.directory)
        self.authority.server()
        self.authority.service_account_key()
        self.kubeconfig = self.authority.kubeconfig("admin.conf", self.server, "admin", "system:masters")
        self.daemons = {
            "etcd": self._daemon("etcd", self._etcd_flags()),
            "kube-apiserver": self._daemon("kube-apiserver", self._api_flags()),
            "kube-controller-manager": self._daemon("kube-controller-manager", self._controller_flags(kcm)),
            "kube-scheduler": self._daemon("kube-scheduler", self._scheduler_flags(scheduler)),
            "kwok": self._daemon("kwok", self._kwok_flags(kwok)),
        }

    def start(self, prepare: Callable[[], None] = lambda: None) -> None:
        """`prepare` comes between API server and controllers: of the kinds installed there the garbage collector knows
        from the beginning; of later ones it learns within half a minute."""
        for name in ("etcd", "kube-apiserver"):
            self.daemons[name].start()
        self.wait_ready()
        prepare()
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self.daemons[name].start()

    def stop(self) -> None:
        """Again, too."""
        for daemon in reversed(self.daemons.values()):
            daemon.end(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill_api_server(self) -> None:
        self.daemons["kube-apiserver"].end(signal.SIGKILL)

    def start_api_server(self) -> None:
        self.daemons["kube-apiserver"].start()
        self.wait_ready()

    def kubeconfig_for(self, user: str, organisation: str | None = None, server: str | None = None) -> Path:
        """A kubeconfig of `user`, against the API server or something in front of it."""
        port = (server or self.server).rsplit(":", 1)[1]
        return self.authority.kubeconfig(
            f"{user.replace(':', '-')}-{port}.conf", server or self.server, user, organisation
        )

    def wait_ready(self) -> None:
        eventually(self._is_ready, timeout_seconds=START_SECONDS, what="/readyz of the API server")

    def _is_ready(self) -> bool:
        self.daemons["etcd"].assert_alive()
        self.daemons["kube-apiserver"].assert_alive()
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        try:
            with urllib.request.urlopen(f"{self.server}/readyz", context=context, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _daemon(self, name: str, flags: dict[str, str]) -> Daemon:
        command = [str(binary(name)), *(f"--{flag}={value}" for flag, value in flags.items())]
        return Daemon(name, command, self.directory / f"{name}.log")

    def _etcd_flags(self) -> dict[str, str]:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        return {
            "data-dir": str(self.directory / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }

    def _api_flags(self) -> dict[str, str]:
        return {
            "etcd-servers": f"http://127.0.0.1:{self.etcd_port}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
            "secure-port": str(self.api_port),
            "service-cluster-ip-range": "10.96.0.0/16",
            "authorization-mode": "Node,RBAC",
            "client-ca-file": str(self.directory / "ca.crt"),
            "tls-cert-file": str(self.directory / "apiserver.crt"),
            "tls-private-key-file": str(self.directory / "apiserver.key"),
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": str(self.directory / "sa.key"),
            "service-account-signing-key-file": str(self.directory / "sa.key"),
            "max-requests-inflight": "2000",
            "max-mutating-requests-inflight": "1000",
        }

    def _controller_flags(self, port: int) -> dict[str, str]:
        kubeconfig = self.authority.kubeconfig("kcm.conf", self.server, "system:kube-controller-manager")
        return {
            "kubeconfig": str(kubeconfig),
            "bind-address": "127.0.0.1",
            "secure-port": str(port),
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(self.directory / "sa.key"),
            "root-ca-file": str(self.directory / "ca.crt"),
            "kube-api-qps": "1000",
            "kube-api-burst": "2000",
            "node-monitor-grace-period": "600s",
            "concurrent-job-syncs": "10",
            "horizontal-pod-autoscaler-sync-period": "1s",
            "flex-volume-plugin-dir": str(self.directory / "flexvolume"),
        }

    def _scheduler_flags(self, port: int) -> dict[str, str]:
        kubeconfig = self.authority.kubeconfig("scheduler.conf", self.server, "system:kube-scheduler")
        return {
            "kubeconfig": str(kubeconfig),
            "bind-address": "127.0.0.1",
            "secure-port": str(port),
            "leader-elect": "false",
            "kube-api-qps": "1000",
            "kube-api-burst": "2000",
        }

    def _kwok_flags(self, port: int) -> dict[str, str]:
        stages = self.directory / "kwok-stages.yaml"
        stages.write_text("\n---\n".join((kwok_stages() / name).read_text() for name in KWOK_STAGES))
        return {
            "kubeconfig": str(self.authority.kubeconfig("kwok.conf", self.server, "kwok", "system:masters")),
            "config": str(stages),
            "manage-all-nodes": "false",
            "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
            "cidr": "10.245.0.0/16",
            "node-ip": "127.0.0.1",
            "server-address": f"127.0.0.1:{port}",
            "node-port": str(port),
            "node-lease-duration-seconds": "200",
        }


def _memory() -> Path | None:
    """Where a disk that others keep busy delays no write of etcd; None where there is no such place with room."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < NEEDED_BYTES:
        return None
    return MEMORY
