"""Prometheus as a pod beside the chart, configured as the chart says for clusters without Prometheus' operator.

It has a namespace and a ServiceAccount of its own, which may list and watch pods and nothing else. On a cluster of our
own it is the program that promtool was built with; elsewhere its publishers' image of the same version.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.support.daemons import eventually
from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.one_node import images
from tests.support.prometheus import Prometheus
from tests.support.real_cluster import RealCluster
from tests.support.tools import PROMETHEUS_RELEASE, PROMETHEUS_VERSION

NAMESPACE = "stepstream-monitoring"
NAME = "prometheus"
PORT = 9090
OWN_IMAGE = f"localhost/stepstream/prometheus:{PROMETHEUS_VERSION}"
ITS_PUBLISHERS = f"docker.io/prom/prometheus:{PROMETHEUS_RELEASE}"
READY_SECONDS = 180.0
USER = 65532
Object = dict[str, Any]


def configuration_of(cluster: RealCluster, release: Helm) -> dict[str, str]:
    """File -> text, as the release has put it into its ConfigMap."""
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace=release.namespace)
    return dict(json.loads(admin("get", "configmap", "stepstream-prometheus", "-o", "json"))["data"])


@contextmanager
def watching(cluster: RealCluster, configuration: Mapping[str, str]) -> Iterator[Prometheus]:
    """A Prometheus at work with these files; nothing of it is left afterwards."""
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace=NAMESPACE)
    if cluster.is_ours:
        images.put_program(OWN_IMAGE, "prometheus")
    manifest = {"apiVersion": "v1", "kind": "List", "items": list(_objects(cluster, configuration))}
    try:
        said = admin("apply", "-f", "-", given=manifest)
        assert "pod/prometheus created" in said, said
        with _proxy(cluster) as server:
            found = Prometheus(url=f"{server}/api/v1/namespaces/{NAMESPACE}/pods/{NAME}:{PORT}/proxy")
            try:
                eventually(found.is_ready, timeout_seconds=READY_SECONDS, what="Prometheus is ready")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{admin('describe', 'pod')}\n{admin('logs', NAME)}") from error
            yield found
    finally:
        admin("delete", "clusterrole,clusterrolebinding", NAMESPACE, "--ignore-not-found")
        admin("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=110s")


@contextmanager
def _proxy(cluster: RealCluster) -> Iterator[str]:
    """The API server on a port of loopback, for those who speak HTTP and have no certificate."""
    command = Kubectl(kubeconfig=cluster.kubeconfig, namespace=NAMESPACE).command("proxy", "--port=0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("Starting to serve on "), said
            yield f"http://{said.split()[-1]}"
        finally:
            process.terminate()


def _objects(cluster: RealCluster, configuration: Mapping[str, str]) -> Iterator[Object]:
    here = {"name": NAME, "namespace": NAMESPACE}
    everywhere = {"name": NAMESPACE}
    group = "rbac.authorization.k8s.io"
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": level}}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here}
    yield {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": everywhere,
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}],
    }
    yield {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": everywhere,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": NAMESPACE},
        "subjects": [{"kind": "ServiceAccount", **here}],
    }
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": here, "data": dict(configuration)}
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": here, "spec": _pod(cluster)}


def _pod(cluster: RealCluster) -> Object:
    container = {
        "name": NAME,
        "image": OWN_IMAGE if cluster.is_ours else ITS_PUBLISHERS,
        "imagePullPolicy": "Never" if cluster.is_ours else "IfNotPresent",
        "args": [
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/data",
            f"--web.listen-address=0.0.0.0:{PORT}",
        ],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/etc/prometheus"},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        "serviceAccountName": NAME,
        "enableServiceLinks": False,
        "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": [
            {"name": "configuration", "configMap": {"name": NAME}},
            {"name": "data", "emptyDir": {}},
        ],
    }
