"""A cluster whose pods really run: the one that $KUBECONFIG names, or one of our own with images built here.

On a cluster at hand the images are those of the chart's values, in $STEPSTREAM_REGISTRY where it is set: they must be
there (docs/cluster.md). One of our own that is up already stays up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charts.images.build import ROLES, ROOT, version
from tests.support.helm import CHART, Helm
from tests.support.kubectl import Kubectl
from tests.support.one_node import namespaces, places

OWN_REGISTRY = "localhost"
RELEASE_NAMESPACE = "stepstream"
USER_NAMESPACE = "stepstream-e2e"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RealCluster:
    kubeconfig: Path
    values: dict[str, Any]
    """Of the chart: where the images are."""
    is_ours: bool


@contextmanager
def real_cluster(tell: Tell) -> Iterator[RealCluster]:
    named = os.environ.get("KUBECONFIG")
    if named:
        registry = os.environ.get("STEPSTREAM_REGISTRY", "")
        yield RealCluster(kubeconfig=Path(named), values={"images": {"registry": registry}}, is_ours=False)
        return
    was_up = namespaces.holder() is not None
    watch = Stopwatch(tell)
    _program("charts.images.build", "--engine", "buildah")
    watch.tell("images built")
    try:
        _program("tests.support.one_node", "up")
        watch.tell("cluster up")
        _program("tests.support.one_node", "load", *own_images())
        watch.tell("images put onto the node")
        values = {"images": {"registry": OWN_REGISTRY, "pullPolicy": "Never"}}
        yield RealCluster(kubeconfig=places.kubeconfig(), values=values, is_ours=True)
    finally:
        if not was_up:
            watch.start()
            _program("tests.support.one_node", "down")
            watch.tell("cluster down")


@contextmanager
def released(cluster: RealCluster, home: Path, **more: Any) -> Iterator[Helm]:
    """The chart, installed, its operator at work. Afterwards neither it nor its definition is left."""
    helm = Helm(home=home, kubeconfig=cluster.kubeconfig, namespace=RELEASE_NAMESPACE)
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace=RELEASE_NAMESPACE)
    values = cluster.values | {"crds": {"keep": False}} | more
    arguments = ("--create-namespace", "--wait", "--timeout", "120s")
    try:
        helm.run("install", "stepstream", str(CHART), *arguments, values=values)
        yield helm
    finally:
        helm.run("uninstall", "stepstream", "--ignore-not-found", "--wait", "--timeout", "60s")
        admin("delete", "namespace", helm.namespace, "--ignore-not-found", "--timeout=110s")


@contextmanager
def rights_withdrawn(cluster: RealCluster) -> Iterator[None]:
    """The operator may do nothing but hold its Lease. Its watches stay open."""
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace=RELEASE_NAMESPACE)
    binding = json.loads(admin("get", "clusterrolebinding", "stepstream", "-o", "json"))
    for name in ("resourceVersion", "uid", "creationTimestamp"):
        binding["metadata"].pop(name)
    admin("delete", "clusterrolebinding", "stepstream")
    try:
        yield
    finally:
        said = admin("create", "-f", "-", given=binding)
        assert said.endswith(" created"), said


@contextmanager
def user_of(cluster: RealCluster) -> Iterator[Kubectl]:
    """A user of a namespace where the `restricted` Pod Security level is enforced; it is gone afterwards."""
    user = Kubectl(kubeconfig=cluster.kubeconfig, namespace=USER_NAMESPACE)
    assert "created" in (said := user("create", "namespace", user.namespace)), said
    try:
        user("label", "namespace", user.namespace, "pod-security.kubernetes.io/enforce=restricted")
        yield user
    finally:
        user("delete", "namespace", user.namespace, "--timeout=110s")


def _program(module: str, *arguments: str) -> None:
    """As the targets of make do it: what is started there is nobody's child here."""
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=sys.stderr, check=True)


def own_images() -> list[str]:
    return [f"{OWN_REGISTRY}/stepstream/{role}:{version()}" for role in ROLES]


class Stopwatch:
    """Tells how long each part took."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.start()

    def start(self) -> None:
        self._started = time.monotonic()

    def tell(self, what: str) -> None:
        self._tell(f"{what}: {time.monotonic() - self._started:.1f} s")
        self.start()
