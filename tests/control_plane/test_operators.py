"""The operator as a process among others: leadership, restarts of the API server, permissions, faults in mid-life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import yaml

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import JOBS, Resource
from tests.support.cluster_fixtures import MakeProxy, StartOperator
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually, free_ports
from tests.support.fault_proxy import Fault, on, status_body
from tests.support.running_operator import Cluster, manifest
from tests.support.scripted_life import live
from tests.support.tools import binary

pytestmark = pytest.mark.control_plane
ROOT = Path(__file__).parents[2]
ROLES = Resource(group="rbac.authorization.k8s.io", version="v1", plural="clusterroles", kind="ClusterRole")
BINDINGS = Resource(
    group="rbac.authorization.k8s.io", version="v1", plural="clusterrolebindings", kind="ClusterRoleBinding"
)
OPERATOR = "system:serviceaccount:stepstream:operator"


def test_of_two_operators_one_acts_and_the_other_takes_over(
    cluster: Cluster, start: StartOperator, make_proxy: MakeProxy
) -> None:
    lease = {"lease_namespace": cluster.namespace, "lease_seconds": 3.0}
    proxies = [make_proxy(), make_proxy()]
    operators = [start(proxy, identity=f"operator-{n}", **lease) for n, proxy in enumerate(proxies)]
    cluster.submit(manifest())
    cluster.reaches("Running")
    leader = next(number for number, operator in enumerate(operators) if operator.leading)
    assert proxies[1 - leader].writes == []
    proxies[leader].cut()
    cluster.edit("pong", simulators={"replicas": 4})
    eventually(lambda: len(cluster.pods("simulator")) == 4, timeout_seconds=30, what="the other scaled")
    assert operators[1 - leader].leading


def test_a_whole_life_is_the_same_while_two_operators_fight_over_the_lease(
    cluster: Cluster, start: StartOperator, make_proxy: MakeProxy
) -> None:
    lease = {"lease_namespace": cluster.namespace, "lease_seconds": 2.0}
    ended = threading.Event()

    def fight() -> None:
        rivals = []
        while not ended.is_set():
            rivals = [proxy for proxy in rivals if not proxy.was_cut.is_set()]
            while len(rivals) < 2:
                rivals.append(make_proxy())
                rivals[-1].cut_after_writes = 9
                start(rivals[-1], identity=f"operator-{id(rivals[-1])}", **lease)
            ended.wait(0.1)

    fighting = threading.Thread(target=fight)
    fighting.start()
    story = live(cluster)
    ended.set()
    fighting.join()
    assert (story.jobs_by_attempt, story.left) == ({"1": 1, "2": 1, "3": 1}, 0)


def test_a_restart_of_the_api_server_in_mid_life_changes_nothing(
    cluster: Cluster, start: StartOperator, control_plane: ControlPlane
) -> None:
    start()
    cluster.submit(manifest())
    cluster.reaches("Running")
    control_plane.kill_api_server()
    control_plane.start_api_server()
    cluster.end_learners(1)
    eventually(lambda: cluster.status().attempt == 2, timeout_seconds=40, what="a second attempt")
    cluster.reaches("Running")
    assert len(cluster.all(JOBS)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(matches=on("PATCH"), times=5, answer=(500, status_body(500, "InternalError"))),
        Fault(matches=on("PATCH"), times=5, answer=(429, status_body(429, "TooManyRequests"))),
        Fault(matches=on("PATCH"), times=5, reset=True),
        Fault(matches=on("PATCH", "/status"), times=5, answer=(409, status_body(409, "Conflict"))),
        Fault(matches=on("PATCH"), times=3, delay_seconds=1.0),
    ],
    ids=["500", "429", "reset", "conflict", "slow"],
)
def test_failing_writes_are_repeated_until_they_succeed(
    cluster: Cluster, start: StartOperator, make_proxy: MakeProxy, fault: Fault
) -> None:
    proxy = make_proxy()
    proxy.inject(fault)
    start(proxy)
    cluster.submit(manifest())
    cluster.reaches("Running")
    assert fault.times == 0


def test_the_charts_permissions_are_enough_and_no_more(
    cluster: Cluster, control_plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    grant(admin)
    process, port = start_process(cluster, control_plane, tmp_path)
    try:
        cluster.submit(manifest())
        cluster.reaches("Running")
        cluster.end_learners(1)
        eventually(lambda: cluster.status().attempt == 2, timeout_seconds=30, what="a second attempt")
        cluster.edit("pong", suspend=True)
        cluster.reaches("Suspended")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert 'code="403"' not in answer.read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    lines = [json.loads(line) for line in (tmp_path / "operator.log").read_text().splitlines()]
    assert all({"job", "attempt"} <= line.keys() for line in lines if line["source"] == "operator.apply")


def grant(admin: Client) -> None:
    chart = [str(binary("helm")), "template", "stepstream", str(ROOT / "charts" / "stepstream")]
    rendered = subprocess.run([*chart, "-s", "templates/rbac.yaml"], capture_output=True, text=True, check=True).stdout
    role = next(each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "ClusterRole")
    role["metadata"]["name"] = "operator-under-test"
    admin.create(ROLES, "", role)
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.kind,
        "metadata": {"name": "operator-under-test"},
        "roleRef": {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": "operator-under-test"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "stepstream", "name": "operator"}],
    }
    admin.create(BINDINGS, "", binding)


def start_process(
    cluster: Cluster, control_plane: ControlPlane, directory: Path
) -> tuple[subprocess.Popen[bytes], int]:
    """`python -m stepstream_operator` with the rights of its service account and no more; ready."""
    (port,) = free_ports(1)
    flags = ["--watch-namespace", cluster.namespace, "--listen", f"127.0.0.1:{port}"]
    environment = os.environ | {"KUBECONFIG": str(control_plane.kubeconfig_for(OPERATOR))}
    environment["PYTHONPATH"] = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer"))
    with (directory / "operator.log").open("wb") as log:
        command = [sys.executable, "-m", "stepstream_operator", *flags]
        process = subprocess.Popen(command, env=environment, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, (directory / "operator.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    eventually(ready, timeout_seconds=30, what="the operator's process is ready")
    return process, port
