"""What the chart renders for which values, and which values it refuses."""

import json
from typing import Any

import pytest

from charts.readme import values as documented_values
from stepstream_operator.settings import OperatorSettings, parse_settings
from tests.support.helm import CHART, Helm, HelmFailed, kinds, only

ON = {"enabled": True}
EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]},
    "serviceMonitor": ON | {"labels": {"release": "prometheus"}},
    "podMonitor": ON,
    "prometheusRule": ON | {"runbookUrl": "https://example.com/runbooks"},
    "prometheusConfig": ON,
    "dashboards": ON | {"annotations": {"grafana_folder": "Stepstream"}},
    "commonLabels": {"team": "rl"},
    "images": {"registry": "registry.example.com", "pullSecrets": ["pull"]},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "control", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "serviceAccount": {"annotations": {"e": "f"}},
}
ALWAYS = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Deployment",
    "Pod",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
}

TOGGLES: list[tuple[dict[str, Any], set[str], set[str]]] = [
    ({}, set(), set()),
    ({"crds": {"enabled": False}}, set(), {"CustomResourceDefinition"}),
    (
        {"rbac": {"create": False, "aggregate": False}},
        set(),
        {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
    ),
    ({"rbac": {"create": False}}, set(), {"ClusterRoleBinding", "Role", "RoleBinding"}),
    ({"leaderElection": False}, set(), {"Role", "RoleBinding"}),
    ({"serviceAccount": {"create": False, "name": "mine"}}, set(), {"ServiceAccount"}),
    ({"watchNamespaces": ["a", "b"]}, set(), {"ClusterRole", "ClusterRoleBinding"}),
    ({"replicas": 2}, {"PodDisruptionBudget"}, set()),
    ({"replicas": 2, "podDisruptionBudget": {"enabled": False}}, set(), set()),
    ({"networkPolicy": ON}, {"NetworkPolicy"}, set()),
    ({"serviceMonitor": ON}, {"ServiceMonitor"}, set()),
    ({"podMonitor": ON}, {"PodMonitor"}, set()),
    ({"prometheusRule": ON}, {"PrometheusRule"}, set()),
    ({"prometheusConfig": ON}, {"ConfigMap"}, set()),
    ({"dashboards": ON}, {"ConfigMap"}, set()),
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"replica": 2}, "replica"),
    ({"replicas": -1}, "/replicas"),
    ({"replicas": "2"}, "/replicas"),
    ({"replicas": 2, "leaderElection": False}, "/replicas"),
    ({"images": {"operator": {"repo": "x"}}}, "repo"),
    ({"images": {"operator": {"digest": "sha256:short"}}}, "/images/operator/digest"),
    ({"images": {"pullPolicy": "always"}}, "/images/pullPolicy"),
    ({"watchNamespaces": ["Team_A"]}, "/watchNamespaces/0"),
    ({"watchNamespaces": ["a", "a"]}, "/watchNamespaces"),
    ({"metrics": {"port": 80}}, "/metrics/port"),
    ({"runAsUser": 0}, "/runAsUser"),
    ({"serviceMonitor": {"interval": "thirty"}}, "/serviceMonitor/interval"),
    ({"prometheusRule": {"learnerWaitFraction": 60}}, "/prometheusRule/learnerWaitFraction"),
    ({"resources": {"request": {}}}, "request"),
]


def test_the_chart_passes_helms_linter(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), values=EVERYTHING)


@pytest.mark.parametrize(
    ("values", "added", "missing"), TOGGLES, ids=lambda value: json.dumps(value, default=sorted)[:60]
)
def test_each_toggle_renders_what_it_says_and_nothing_else(
    helm: Helm, values: dict[str, Any], added: set[str], missing: set[str]
) -> None:
    assert kinds(helm.template(values)) == (ALWAYS | added) - missing


@pytest.mark.parametrize(("values", "named"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_values_that_cannot_work_are_refused_by_name(helm: Helm, values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmFailed) as refusal:
        helm.template(values)
    assert named in str(refusal.value)


def test_every_value_has_a_meaning_and_a_type() -> None:
    """`charts.readme` looks each value up in the schema, and so fails for one without a type."""
    described = {value.path for value in documented_values() if value.meaning}
    families = ("serviceMonitor", "podMonitor", "prometheusRule", "prometheusConfig", "dashboards", "resources")
    plain = {value.path for value in documented_values() if value.path.split(".")[0] not in families}
    assert plain <= described
    assert set(families) <= described


def test_every_value_of_the_schema_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    listed = {value.path.split(".")[0] for value in documented_values()}
    assert schema["properties"].keys() - {"global"} == listed


def test_in_named_namespaces_the_operator_gets_roles_there_and_no_right_beyond_them(helm: Helm) -> None:
    objects = helm.template({"watchNamespaces": ["a", "b"]})
    places = {role["metadata"]["namespace"] for role in objects if role["kind"] == "Role"}
    assert places == {"a", "b", "stepstream"}
    lease = only(objects, "Role", "stepstream-lease")
    assert {resource for rule in lease["rules"] for resource in rule["resources"]} == {"leases"}
    assert operator_settings(objects).namespaces == ("a", "b")


def test_no_rule_grants_everything_of_anything(helm: Helm) -> None:
    roles = [found for found in helm.template() if found["kind"] in ("Role", "ClusterRole")]
    granted = [word for role in roles for rule in role["rules"] for words in rule.values() for word in words]
    assert "*" not in granted
    assert "secrets" in granted


def test_the_operator_reads_jobs_and_pods_by_following_them_and_changes_neither(helm: Helm) -> None:
    rules = only(helm.template(), "ClusterRole")["rules"]
    verbs = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}
    assert verbs["trainingjobs"] == verbs["pods"] == {"list", "watch", "delete"}
    assert verbs["trainingjobs/status"] == verbs["trainingjobs/scale"] == {"patch"}


def test_without_an_election_an_operator_is_replaced_before_the_next_starts(helm: Helm) -> None:
    objects = helm.template({"leaderElection": False})
    assert only(objects, "Deployment")["spec"]["strategy"]["type"] == "Recreate"
    assert operator_settings(objects).lease_namespace == ""


def test_a_digest_wins_over_a_tag_and_a_registry_goes_before_the_repository(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    images = {"registry": "r.example.com/", "operator": {"tag": "x", "digest": digest}, "learner": {"tag": "v1"}}
    objects = helm.template({"images": images})
    assert operator_container(objects)["image"] == f"r.example.com/stepstream/operator@{digest}"
    assert operator_settings(objects).images.learner == "r.example.com/stepstream/learner:v1"


@pytest.mark.parametrize(
    ("repository", "image"),
    [
        ("ghcr.io/team/learner", "ghcr.io/team/learner"),
        ("registry:5000/learner", "registry:5000/learner"),
        ("localhost/learner", "localhost/learner"),
        ("team/learner", "r.example.com/team/learner"),
        ("learner", "r.example.com/learner"),
        ("learner.v2", "r.example.com/learner.v2"),
    ],
)
def test_the_registry_goes_before_repositories_that_have_none_of_their_own(
    helm: Helm, repository: str, image: str
) -> None:
    images = {"registry": "r.example.com", "learner": {"repository": repository, "tag": "v1"}}
    assert operator_settings(helm.template({"images": images})).images.learner == f"{image}:v1"


def test_whoever_else_may_read_metrics_helm_test_may_ask_the_operator(helm: Helm) -> None:
    objects = helm.template(EVERYTHING)
    asks = only(objects, "Pod", "stepstream-is-ready")["metadata"]["labels"]
    (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    selectors = [peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer]
    assert [selector for selector in selectors if selector.items() <= asks.items()] != []
    assert len(rule["from"]) == 1 + len(EVERYTHING["networkPolicy"]["metricsFrom"])
    assert not any(selector.items() <= operator_pod(objects)["labels"].items() for selector in selectors)


def test_the_definition_stays_when_the_release_goes_unless_told_otherwise(helm: Helm) -> None:
    name = "trainingjobs.stepstream.dev"
    kept = only(helm.template(), "CustomResourceDefinition", name)["metadata"]
    dropped = only(helm.template({"crds": {"keep": False}}), "CustomResourceDefinition", name)["metadata"]
    assert kept["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "helm.sh/resource-policy" not in dropped.get("annotations", {})


def test_what_the_chart_tells_the_operator_is_what_its_values_say(helm: Helm) -> None:
    settings = operator_settings(helm.template({"workers": 9, "tls": False, "metrics": {"port": 9999}}))
    assert (settings.workers, settings.tls, settings.listen) == (9, False, "0.0.0.0:9999")
    assert (settings.lease_namespace, settings.lease_name, settings.identity) == ("stepstream", "stepstream", "pod-0")
    assert settings.namespaces == ()


def operator_pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(only(objects, "Deployment")["spec"]["template"]["metadata"])


def operator_container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0])


def operator_settings(objects: list[dict[str, Any]]) -> OperatorSettings:
    """As the operator's own parser reads what the Deployment starts it with, in a pod named pod-0."""
    container = operator_container(objects)
    fields = {"metadata.name": "pod-0", "metadata.namespace": "stepstream"}
    environment = {each["name"]: fields[each["valueFrom"]["fieldRef"]["fieldPath"]] for each in container["env"]}
    assert container["command"] == ["python", "-m", "stepstream_operator"]
    return parse_settings(container["args"], environment)
