"""A release of the chart on a cluster, and what belongs to it there."""

from __future__ import annotations

from typing import Any

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import PODS, Object, Resource
from tests.support.helm import CHART, Helm

CRD = "trainingjobs.stepstream.dev"
TOKENS = Resource(group="", version="v1", plural="serviceaccounts", kind="TokenRequest")
MONITORING = tuple(
    Resource(group="monitoring.coreos.com", version="v1", plural=f"{kind.lower()}s", kind=kind)
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")
)
"""The Prometheus operator's."""


def install(helm: Helm, values: dict[str, Any] | None = None) -> str:
    return helm.run("install", "stepstream", str(CHART), "--wait", "--timeout", "120s", values=values or {})


def operator_pods(admin: Client, namespace: str) -> list[Object]:
    selector = {"labelSelector": "app.kubernetes.io/component=operator"}
    return list(admin.list_page(PODS, namespace, selector)["items"])


def service_account_token(admin: Client, namespace: str) -> str:
    """With it a process is known to the API server as the release's operator."""
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": TOKENS.kind}
    path = TOKENS.path(namespace, "stepstream", "token")
    body = kind | {"spec": {"expirationSeconds": 3600}}
    answer = admin._call("create", TOKENS, "POST", path, body=body, content_type="application/json")
    return str(answer["status"]["token"])
