"""Dashboards, alerts and scrape configuration: that they ask for what there is, and explain themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepstream_operator.children.containers import HTTP_PORT_NAME
from stepstream_operator.children.names import JOB_LABEL, ROLE_LABEL
from tests.support.dashboards import DASHBOARDS, expressions, panels
from tests.support.helm import Helm, only
from tests.support.promql import named_series, problems, series

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
SAID_OTHERWISE = {
    "stepstream_learner_info",  # carries labels alone
    "stepstream_learner_steps_per_second",  # the rate of steps_total, for those without PromQL
    "stepstream_learner_checkpoint_last_success_timestamp_seconds",  # checkpoint_age_seconds
    "stepstream_simulator_episodes_total",  # the learner's, by simulator
}
FOREIGN = "kube_pod_container_status_restarts_total"  # kube-state-metrics', behind a value of its own


def alerts(helm: Helm, **values: Any) -> list[dict[str, Any]]:
    rule = only(helm.template({"prometheusRule": {"enabled": True} | values}), "PrometheusRule")
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


@pytest.mark.parametrize(
    "expression",
    [
        "sum(rate(stepstream_learner_steps_total[1m])",
        "sum(rate(stepstream_learner_step_total[1m]))",
        "sum by (rank) (stepstream_learner_streams)",
    ],
)
def test_the_check_of_expressions_sees_a_name_that_nobody_has(expression: str) -> None:
    assert problems(expression) != []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_asks_for_series_and_labels_that_exist(path: Path) -> None:
    found = {expression: problems(expression) for expression in expressions(path)}
    assert found
    assert {expression: wrong for expression, wrong in found.items() if wrong} == {}


def test_every_alert_asks_for_series_and_labels_that_exist(helm: Helm) -> None:
    found = {alert["alert"]: problems(alert["expr"]) for alert in alerts(helm)}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_every_metric_is_on_a_dashboard_but_those_that_say_the_same_in_another_way() -> None:
    shown = {name for path in DASHBOARDS for expression in expressions(path) for name in named_series(expression)}
    bases = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in shown}
    wanted = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in series()}
    assert wanted - bases == SAID_OTHERWISE


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_explain_themselves_and_do_not_overlap(path: Path) -> None:
    everything = json.loads(path.read_text())["panels"]
    places = [panel["gridPos"] for panel in everything]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(panel["title"] and panel["description"].endswith((".", "?")) for panel in panels(path))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(helm: Helm) -> None:
    found = alerts(helm)
    assert {alert["alert"] for alert in found} == {page.stem for page in RUNBOOKS.glob("*.md")}
    assert all(alert["annotations"]["runbook"] == f"docs/runbooks/{alert['alert']}.md" for alert in found)
    assert all("runbook_url" not in alert["annotations"] for alert in found)


def test_alerts_link_to_where_runbooks_are_published(helm: Helm) -> None:
    links = {alert["annotations"]["runbook_url"] for alert in alerts(helm, runbookUrl="https://example.com/books/")}
    assert "https://example.com/books/StepstreamNoSteps.md" in links


def test_kube_state_metrics_are_asked_only_where_they_are_said_to_be(helm: Helm) -> None:
    with_them, without = alerts(helm), alerts(helm, kubeStateMetrics=False)
    assert any(FOREIGN in alert["expr"] for alert in with_them)
    assert not any(FOREIGN in alert["expr"] for alert in without)


def test_grafanas_sidecar_finds_three_dashboards_by_their_label(helm: Helm) -> None:
    objects = helm.template({"dashboards": {"enabled": True, "namespace": "grafana"}})
    maps = [found for found in objects if found["kind"] == "ConfigMap"]
    titles = {json.loads(text)["title"] for found in maps for text in found["data"].values()}
    assert titles == {"Stepstream / Job", "Stepstream / All jobs", "Stepstream / Operator"}
    assert all(found["metadata"]["labels"]["grafana_dashboard"] == "1" for found in maps)
    assert {found["metadata"]["namespace"] for found in maps} == {"grafana"}


def test_the_pod_monitor_finds_job_pods_by_the_label_and_port_that_the_operator_gives_them(helm: Helm) -> None:
    monitor = only(helm.template({"podMonitor": {"enabled": True}}), "PodMonitor", "stepstream-jobs")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert monitor["selector"]["matchExpressions"] == [{"key": ROLE_LABEL, "operator": "Exists"}]
    assert endpoint["port"] == HTTP_PORT_NAME
    sources = {rule["targetLabel"]: rule["sourceLabels"] for rule in endpoint["relabelings"]}
    assert sources["training_job"] == ["__meta_kubernetes_pod_label_" + JOB_LABEL.replace(".", "_").replace("/", "_")]


def test_the_plain_prometheus_configuration_finds_what_the_monitors_find(helm: Helm) -> None:
    values = {"prometheusConfig": {"enabled": True}, "watchNamespaces": ["a", "b"]}
    data = only(helm.template(values), "ConfigMap", "stepstream-prometheus")["data"]
    operator, jobs = yaml.safe_load(data["prometheus.yaml"])["scrape_configs"]
    (discovery,) = jobs["kubernetes_sd_configs"]
    assert discovery["namespaces"]["names"] == ["a", "b"]
    assert discovery["selectors"] == [{"role": "pod", "label": ROLE_LABEL}]
    targets = {rule["target_label"] for rule in jobs["relabel_configs"] if "target_label" in rule}
    assert targets == {"namespace", "pod", "training_job", "role"}
    assert "app.kubernetes.io/component=operator" in operator["kubernetes_sd_configs"][0]["selectors"][0]["label"]


def test_the_plain_rules_are_the_same_alerts(helm: Helm) -> None:
    data = only(helm.template({"prometheusConfig": {"enabled": True}}), "ConfigMap", "stepstream-prometheus")["data"]
    plain = [alert for group in yaml.safe_load(data["rules.yaml"])["groups"] for alert in group["rules"]]
    assert plain == alerts(helm)
