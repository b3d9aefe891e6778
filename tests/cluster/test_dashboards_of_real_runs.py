"""Every query of every dashboard, asked of the Prometheus that watched real jobs on a cluster whose pods really run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.cluster_prometheus import configuration_of, watching
from tests.support.daemons import eventually
from tests.support.dashboards import DASHBOARDS, View, panels
from tests.support.helm import Helm
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.monitored_jobs import BY_AUTO, BY_REPLAY, BY_STORE, REFUSED_STREAMS, cartpole, learner_address
from tests.support.prometheus import Prometheus
from tests.support.real_cluster import RELEASE_NAMESPACE, USER_NAMESPACE, RealCluster, released, rights_withdrawn
from tests.support.real_job import RealJob

SCRAPE_SECONDS = 5
JOBS = (BY_AUTO, BY_REPLAY, BY_STORE)
UNWRITABLE = "unwritable"
"""A job whose children the operator may not make."""

pytestmark = pytest.mark.timeout(1200)

Asked = tuple[str, str, str]


@pytest.fixture(scope="module")
def release(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    interval = {"interval": f"{SCRAPE_SECONDS}s", "scrapeTimeout": f"{SCRAPE_SECONDS}s"}
    values = {"prometheusConfig": {"enabled": True}, "podMonitor": interval, "serviceMonitor": interval}
    with released(cluster, tmp_path_factory.mktemp("helm"), **values) as helm:
        yield helm


@pytest.fixture(scope="module")
def prometheus(cluster: RealCluster, release: Helm) -> Iterator[Prometheus]:
    with watching(cluster, configuration_of(cluster, release)) as found:
        yield found


@pytest.fixture(scope="module")
def begun() -> float:
    return time.time()


@pytest.fixture(scope="module")
def jobs(cluster: RealCluster, begun: float, prometheus: Prometheus, user: Kubectl) -> Iterator[list[RealJob]]:
    """All of them at work, after a trouble or two that dashboards have panels for."""
    with rights_withdrawn(cluster):
        RealJob(kubectl=user, name=UNWRITABLE).apply(cartpole(UNWRITABLE))
        comes_to_be(prometheus, f"rate(stepstream_operator_reconcile_errors_total[{4 * SCRAPE_SECONDS}s])")
        operator = Kubectl(kubeconfig=cluster.kubeconfig, namespace=RELEASE_NAMESPACE)
        operator("delete", "pod", "--all")  # the next one may not list anything
        comes_to_be(prometheus, "stepstream_operator_relists_total > 0")
        user("delete", "tjob", UNWRITABLE, "--timeout=60s")
    operator("rollout", "status", "deployment/stepstream", "--timeout=60s")
    found = [RealJob(kubectl=user, name=job["metadata"]["name"]) for job in JOBS]
    try:
        for job, manifest in zip(found, JOBS, strict=True):
            job.apply(manifest)
        for job, manifest in zip(found, JOBS, strict=True):
            job.is_served(manifest)
        address = learner_address(found[0].name, user.namespace)
        said = user("exec", found[0].ready_pods("simulator")[0], "--", "python", "-c", REFUSED_STREAMS, address, "1")
        assert said.split() == ["FAILED_PRECONDITION"]
        yield found
    finally:
        user("delete", "tjob", "--all", "--timeout=110s")


def comes_to_be(prometheus: Prometheus, expression: str) -> None:
    eventually(lambda: prometheus.query(expression, at=time.time()), timeout_seconds=90, what=expression)


def test_prometheus_discovers_the_operator_and_every_pod_of_every_job(
    prometheus: Prometheus, jobs: list[RealJob], user: Kubectl, release: Helm, cluster: RealCluster
) -> None:
    operator = Kubectl(kubeconfig=cluster.kubeconfig, namespace=release.namespace)
    wanted = {
        (user.namespace, pod["metadata"]["name"], job.name, role)
        for job in jobs
        for role in ("learner", "simulator")
        for pod in job.pods(role)
    }
    names = json.loads(operator("get", "pods", "-o", "json"))["items"]
    wanted |= {(release.namespace, pod["metadata"]["name"], "", "") for pod in names}

    def scraped() -> set[tuple[str, ...]]:
        labels = ("namespace", "pod", "training_job", "role")
        up = [target["labels"] for target in prometheus.targets() if target["health"] == "up"]
        return {tuple(target.get(label, "") for label in labels) for target in up}

    assert len(wanted) == 1 + 2 + 1 + 1 + 1 + 2 + 2
    try:
        eventually(lambda: scraped() == wanted, timeout_seconds=60, what="these pods are scraped, and no others")
    except AssertionError as error:
        raise AssertionError(f"{error}: {scraped() ^ wanted} are not as they should be") from error


def test_every_query_of_every_panel_draws_something(
    prometheus: Prometheus, jobs: list[RealJob], begun: float, tell_at_the_end: TellAtTheEnd
) -> None:
    drawn: dict[Asked, int] = {}

    def all_drawn() -> bool:
        view = View(prometheus=prometheus, start=begun, end=time.time(), scrape_seconds=SCRAPE_SECONDS)
        drawn.update(series_by_query(view, jobs))
        return not empty(drawn)

    try:
        eventually(all_drawn, timeout_seconds=300, what="every query draws something", interval_seconds=5)
    except AssertionError as error:
        raise AssertionError(f"{error}; not {sorted(empty(drawn))}") from error
    tell_at_the_end(
        f"dashboards: all of {len(drawn)} queries draw something, {sum(drawn.values())} series,"
        f" {time.time() - begun:.0f} s after Prometheus began to watch"
    )


def empty(drawn: Mapping[Asked, int]) -> set[Asked]:
    return {asked for asked, series in drawn.items() if not series}


def series_by_query(view: View, jobs: list[RealJob]) -> dict[Asked, int]:
    """How many series each query draws, with the variables that a person can choose, of the jobs together."""
    found: dict[Asked, int] = {}
    for path in DASHBOARDS:
        for variables in choices(path, view, jobs):
            for panel in panels(path):
                for target in panel["targets"]:
                    asked = (path.stem, panel["title"], target["refId"])
                    found[asked] = found.get(asked, 0) + len(view.asked(target, variables))
    return found


def choices(path: Path, view: View, jobs: list[RealJob]) -> list[dict[str, str]]:
    """What a person chooses on a dashboard, one after the other; the dashboard offers each of it."""
    wanted: dict[str, list[dict[str, str]]] = {
        "job": [{"namespace": USER_NAMESPACE, "training_job": job.name} for job in jobs],
        "jobs": [{}],
        "operator": [{"namespace": RELEASE_NAMESPACE}],
    }[path.stem]
    for chosen in wanted:
        offered = view.choices(json.loads(path.read_text()), chosen)
        assert offered.keys() == chosen.keys()
        assert all(chosen[name] in values for name, values in offered.items()), (chosen, offered)
    return wanted
