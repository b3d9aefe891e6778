"""containerd, kubelet, kube-proxy: what makes a machine a node, and the configuration of each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from tests.support.daemons import eventually
from tests.support.one_node import namespaces, places
from tests.support.one_node.control_plane import answers, kubectl
from tests.support.tools import binary

PAUSE_IMAGE = "localhost/stepstream/pause:1"
CNI_PLUGINS = Path("/usr/lib/cni")
START_SECONDS = 120.0


def start_containerd() -> None:
    settings = {
        "version": 2,
        "root": str(places.folder("containerd")),
        "state": "/run/containerd",
        "grpc": {"address": places.CONTAINERD_SOCKET},
        "plugins": {
            "io.containerd.grpc.v1.cri": {
                "sandbox_image": PAUSE_IMAGE,
                # Root without CAP_SYS_RESOURCE cannot lower a score.
                "restrict_oom_score_adj": True,
                "cni": {"bin_dir": str(CNI_PLUGINS), "conf_dir": str(places.state("cni"))},
            }
        },
    }
    _write("cni/10-bridge.conflist", json.dumps(_pod_network()))
    file = _write("containerd.toml", "\n".join(toml(settings)) + "\n")
    namespaces.start("containerd", "containerd", "--config", str(file))
    eventually(lambda: namespaces.succeeds(*ctr("version")), timeout_seconds=60, what="containerd answers")
    remove_containers()


def ctr(*arguments: str) -> list[str]:
    """containerd's own client, on the images and containers of Kubernetes."""
    return ["ctr", "--address", places.CONTAINERD_SOCKET, "--namespace", "k8s.io", *arguments]


def remove_containers() -> None:
    """Those of an earlier life: images are kept from one to the next, and nothing else."""
    left_over = namespaces.run(*ctr("containers", "list", "--quiet")).split()
    if left_over:
        namespaces.run(*ctr("containers", "delete", *left_over))


def start_kubelet() -> None:
    file = _write("kubelet.yaml", yaml.safe_dump(_kubelet()))
    flags = {
        "config": str(file),
        "kubeconfig": str(places.state("kubelet.conf")),
        "hostname-override": places.NODE,
        "node-ip": places.NODE_ADDRESS,
        "root-dir": str(places.state("kubelet")),
    }
    namespaces.start("kubelet", str(binary("kubelet")), *(f"--{flag}={value}" for flag, value in flags.items()))
    ready = ("wait", "--for=condition=Ready", f"node/{places.NODE}", "--timeout=1s")
    eventually(lambda: answers(*ready), timeout_seconds=START_SECONDS, what="the node is Ready")


def start_proxy() -> None:
    file = _write("proxy.yaml", yaml.safe_dump(_proxy()))
    binding = ("create", "clusterrolebinding", "kube-proxy", "--clusterrole=system:node-proxier")
    kubectl(*binding, "--user=system:kube-proxy")
    namespaces.start("kube-proxy", str(binary("kube-proxy")), f"--config={file}")
    port = f"exec 3<>/dev/tcp/{places.API_SERVICE_ADDRESS}/443"
    eventually(lambda: namespaces.succeeds("bash", "-c", port), timeout_seconds=60, what="Services answer")


def missing_programs() -> list[str]:
    """What Debian's packages bring; see PACKAGES of the command line."""
    needed = (
        "containerd",
        "ctr",
        "runc",
        "tini",
        "nft",
        "conntrack",
        "unshare",
        "nsenter",
        "ip",
        "buildah",
        "skopeo",
        "debootstrap",
    )
    missing = [program for program in needed if shutil.which(program) is None]
    return missing if (CNI_PLUGINS / "bridge").exists() else [*missing, "the CNI plugin bridge"]


def _pod_network() -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": places.POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def _kubelet() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": places.NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(places.state("ca.crt"))}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(places.state("kubelet.crt")),
        "tlsPrivateKeyFile": str(places.state("kubelet.key")),
        "containerRuntimeEndpoint": f"unix://{places.CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [places.DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(_write("resolv.conf", "")),  # nothing outside is resolved
        "podLogsDir": str(places.folder("log") / "pods"),
        "volumePluginDir": str(places.state("volume-plugins")),
        # The machine's disk is not the node's to judge.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }


def _proxy() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": places.POD_RANGE,
        "bindAddress": places.NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": places.NODE,
        "clientConnection": {"kubeconfig": str(places.state("proxy.conf"))},
        "conntrack": {"maxPerCore": 0},
    }


def _write(name: str, text: str) -> Path:
    file = places.state(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def toml(table: dict[str, object], path: str = "") -> list[str]:
    """As much of TOML as containerd's settings take."""
    plain = [f"{name} = {json.dumps(value)}" for name, value in table.items() if not isinstance(value, dict)]
    inner: list[str] = []
    for name, value in table.items():
        if isinstance(value, dict):
            inner += toml(value, f"{path}{'.' if path else ''}{json.dumps(name)}")
    return [*([f"[{path}]"] if path and plain else []), *plain, *inner]
