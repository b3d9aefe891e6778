"""Brings the cluster up or down; see the package."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from tests.support.one_node import control_plane, images, namespaces, node, places
from tests.support.one_node.control_plane import kubectl

PACKAGES = (
    "buildah skopeo debootstrap containerd runc containernetworking-plugins tini nftables conntrack iproute2 kmod"
    " util-linux"
)
VOLUMES = 4
VOLUME_SIZE = "8Gi"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tests.support.one_node", description="A one-node Kubernetes on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    beginning = commands.add_parser("up", help="start it; prints the kubeconfig's path")
    beginning.add_argument("--install", action="store_true", help="first install what is missing, by apt-get")
    loading = commands.add_parser("load", help="put images of buildah's store onto the node")
    loading.add_argument("images", nargs="+")
    ending = commands.add_parser("down", help="end it; images are kept for the next time")
    ending.add_argument("--purge", action="store_true", help="remove them, too")
    arguments = parser.parse_args()
    if arguments.command == "up":
        if arguments.install and node.missing_programs():
            install()
        up()
        print(places.kubeconfig())
    elif arguments.command == "load":
        images.load(arguments.images)
    else:
        down(purge=arguments.purge)


def install() -> None:
    """On a Debian, with root."""
    for command in ("update", f"install --yes --no-install-recommends {PACKAGES}"):
        subprocess.run(["apt-get", "--quiet", *command.split()], stdout=sys.stderr, check=True)


def up() -> None:
    """Nothing is done where it is up already."""
    if namespaces.holder() is not None:
        return
    _check_machine()
    down()  # what a machine that lost its power left
    _steps(
        ("images of the cluster's own programs", images.make_own_images),
        ("namespaces", namespaces.create),
        ("control plane", control_plane.start),
        ("containerd", node.start_containerd),
        ("images onto the node", lambda: images.load((node.PAUSE_IMAGE, images.COREDNS_IMAGE))),
        ("kubelet, node Ready", node.start_kubelet),
        ("kube-proxy", node.start_proxy),
        ("CoreDNS and volumes", _start_services),
    )


def down(*, purge: bool = False) -> None:
    namespaces.destroy()
    for name in ("state", "log", *(("containerd", "images") if purge else ())):
        shutil.rmtree(places.root() / name, ignore_errors=True)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise SystemExit("a node is made by root; with a cluster at hand, name it in KUBECONFIG instead")
    missing = node.missing_programs()
    if missing:
        raise SystemExit(
            f"missing: {', '.join(missing)}. On Debian: apt-get install --no-install-recommends {PACKAGES}"
        )


def _steps(*steps: tuple[str, Callable[[], None]]) -> None:
    for name, act in steps:
        started = time.monotonic()
        act()
        print(f"{name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def _start_services() -> None:
    manifests = Path(__file__).with_name("manifests.yaml").read_text()
    kubectl("apply", "--filename=-", given="\n---\n".join((manifests, *map(yaml.safe_dump, _volumes()))))
    kubectl("--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")


def _volumes() -> Iterable[dict[str, object]]:
    """Folders of the machine that anybody may write to: what `fsGroup` does for other kinds of volumes."""
    for number in range(VOLUMES):
        path = places.state(f"volumes/{number}")
        path.mkdir(parents=True)
        path.chmod(0o777)
        spec = {
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": "standard",
            "hostPath": {"path": str(path)},
        }
        yield {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"volume-{number}"}, "spec": spec}


if __name__ == "__main__":
    main()
