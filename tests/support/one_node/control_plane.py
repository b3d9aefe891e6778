"""etcd, API server, controller manager and scheduler of the node, with every certificate that the cluster needs."""

from __future__ import annotations

import shutil
import subprocess

from tests.support.daemons import eventually
from tests.support.one_node import namespaces, places
from tests.support.pki import Authority
from tests.support.tools import binary

START_SECONDS = 120.0


def start() -> None:
    shutil.rmtree(places.state("etcd"), ignore_errors=True)
    write_certificates()
    _start("etcd", _etcd())
    start_api_server()
    _start("kube-controller-manager", _controllers())
    _start("kube-scheduler", _scheduler())


def start_api_server() -> None:
    """Ready afterwards."""
    _start("kube-apiserver", _api_server())
    eventually(
        lambda: answers("get", "--raw", "/readyz"), timeout_seconds=START_SECONDS, what="the API server is ready"
    )


def answers(*arguments: str) -> bool:
    """Whether kubectl has its way."""
    return subprocess.run(_kubectl(*arguments), capture_output=True, timeout=30).returncode == 0


def kubectl(*arguments: str, given: str | None = None) -> str:
    """What kubectl prints, as the cluster's administrator. Raises CalledProcessError."""
    return subprocess.run(_kubectl(*arguments), input=given, stdout=subprocess.PIPE, text=True, check=True).stdout


def _kubectl(*arguments: str) -> list[str]:
    return [str(binary("kubectl")), f"--kubeconfig={places.kubeconfig()}", "--request-timeout=10s", *arguments]


def write_certificates() -> None:
    authority = Authority(places.state("").resolve())
    authority.server(places.NODE_ADDRESS)
    authority.service_account_key()
    authority.serving("kubelet", places.NODE, [places.NODE], [places.NODE_ADDRESS, "127.0.0.1"])
    authority.pair("kubelet-client", authority.sign("kube-apiserver", "system:masters"))
    users = {
        "admin": ("admin", "system:masters"),
        "controllers": ("system:kube-controller-manager", None),
        "scheduler": ("system:kube-scheduler", None),
        "kubelet": (f"system:node:{places.NODE}", "system:nodes"),
        "proxy": ("system:kube-proxy", None),
    }
    for file, (user, organisation) in users.items():
        authority.kubeconfig(f"{file}.conf", places.SERVER, user, organisation)


def _start(name: str, flags: dict[str, str]) -> None:
    namespaces.start(name, str(binary(name)), *(f"--{flag}={value}" for flag, value in flags.items()))


def _etcd() -> dict[str, str]:
    peer = "http://127.0.0.1:2380"
    return {
        "data-dir": str(places.state("etcd")),
        "listen-client-urls": places.ETCD,
        "advertise-client-urls": places.ETCD,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }


def _api_server() -> dict[str, str]:
    return {
        "etcd-servers": places.ETCD,
        "bind-address": places.NODE_ADDRESS,
        "advertise-address": places.NODE_ADDRESS,
        "secure-port": "6443",
        "service-cluster-ip-range": places.SERVICE_RANGE,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "client-ca-file": str(places.state("ca.crt")),
        "tls-cert-file": str(places.state("apiserver.crt")),
        "tls-private-key-file": str(places.state("apiserver.key")),
        "kubelet-client-certificate": str(places.state("kubelet-client.crt")),
        "kubelet-client-key": str(places.state("kubelet-client.key")),
        "kubelet-certificate-authority": str(places.state("ca.crt")),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": str(places.state("sa.key")),
        "service-account-signing-key-file": str(places.state("sa.key")),
    }


def _controllers() -> dict[str, str]:
    return {
        "kubeconfig": str(places.state("controllers.conf")),
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(places.state("sa.key")),
        "root-ca-file": str(places.state("ca.crt")),
        "flex-volume-plugin-dir": str(places.state("flexvolume")),
        # A busy machine is no lost node.
        "node-monitor-grace-period": "120s",
    }


def _scheduler() -> dict[str, str]:
    return {"kubeconfig": str(places.state("scheduler.conf")), "bind-address": "127.0.0.1", "leader-elect": "false"}
