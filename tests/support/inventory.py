"""What is on a cluster, so that what a test left can be named."""

from __future__ import annotations

from tests.support.kubectl import Kubectl
from tests.support.one_node import namespaces
from tests.support.one_node.node import ctr
from tests.support.real_cluster import RealCluster

FLEETING = {
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "ipaddresses.networking.k8s.io",
}
"""Kinds that come and go by themselves."""
OWN_PODS = {"kube-system"}


def inventory(kubectl: Kubectl) -> set[str]:
    """`kind namespace/name` of every object."""
    kinds = set(kubectl("api-resources", "--verbs=list", "--output=name").split()) - FLEETING
    columns = "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name"
    rows = kubectl("get", ",".join(sorted(kinds)), "--all-namespaces", "--no-headers", "--output", columns)
    return {" ".join(row.split()) for row in rows.splitlines()}


def node_leftovers(cluster: RealCluster) -> list[str]:
    """Containers on a node of our own that are of no pod of the cluster's own; nothing is known of other nodes."""
    if not cluster.is_ours:
        return []
    labelled = [f'labels."io.kubernetes.pod.namespace"!={namespace}' for namespace in OWN_PODS]
    return namespaces.run(*ctr("containers", "list", "--quiet", *labelled)).split()
