"""The operator among others: leadership, restarts of the API server, faults in mid-life."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from stepstream_operator.controller import operator as operator_module
from stepstream_operator.runtime.resources import JOBS, LEASES
from tests.support.cluster_fixtures import MakeProxy, StartOperator
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.fault_proxy import Fault, FaultProxy, on, status_body
from tests.support.operator_process import OperatorProcess
from tests.support.running_operator import Cluster, manifest
from tests.support.scripted_life import live

pytestmark = pytest.mark.control_plane


def test_of_two_operators_one_acts_and_the_other_takes_over(
    cluster: Cluster, start: StartOperator, make_proxy: MakeProxy
) -> None:
    lease = {"lease_namespace": cluster.namespace, "lease_seconds": 15.0}
    proxies = [make_proxy(), make_proxy()]
    operators = [start(proxy, identity=f"operator-{n}", **lease) for n, proxy in enumerate(proxies)]
    cluster.submit(manifest())
    cluster.reaches("Running")
    leader = next(number for number, operator in enumerate(operators) if operator.leading)
    assert proxies[1 - leader].writes == []
    proxies[leader].cut()
    cluster.edit("pong", simulators={"replicas": 4})
    eventually(lambda: len(cluster.pods("simulator")) == 4, timeout_seconds=120, what="the other scaled")
    assert operators[1 - leader].leading


def test_an_operator_that_is_asked_to_stop_ends_its_reconcile_before_it_gives_the_lease_back(
    cluster: Cluster, start: StartOperator, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_module, "STOP_SECONDS", 60.0)
    operator = start(proxy, lease_namespace=cluster.namespace, lease_seconds=60.0)
    written = Fault(matches=on("PATCH", "/status"), delay_seconds=1.0)
    proxy.inject(written)
    cluster.submit(manifest())
    assert written.hit.wait(60)
    operator.stop()
    cluster.tells("Started")
    assert cluster.learner_job() is not None
    lease = cluster.admin.get(LEASES, cluster.namespace, operator.settings.lease_name) or {}
    assert lease["spec"]["holderIdentity"] == ""


def test_a_process_whose_lease_is_stolen_ends(control_plane: ControlPlane, cluster: Cluster, tmp_path: Path) -> None:
    lease = {"holderIdentity": "thief", "leaseDurationSeconds": 60}
    flags = [f"--watch-namespace={cluster.namespace}", "--leader-elect", f"--lease-namespace={cluster.namespace}"]
    process = OperatorProcess(flags, kubeconfig=control_plane.kubeconfig, log=tmp_path / "log")
    try:
        leads = "stepstream_operator_leader"
        eventually(lambda: process.samples(leads) == {"": 1.0}, timeout_seconds=60, what="it leads")
        cluster.admin.merge(LEASES, cluster.namespace, "stepstream-operator", {"spec": lease})
        assert process.wait() == 1
    finally:
        process.stop()


def test_an_operator_whose_reconcile_hangs_says_that_it_is_not_well(
    cluster: Cluster, start: StartOperator, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_module, "STUCK_SECONDS", 1.0)
    running = start(proxy)
    eventually(lambda: running.leading, timeout_seconds=60, what="it works")
    assert running.unhealthy() is None
    proxy.inject(Fault(matches=on("PATCH", "/status"), hang=True))
    cluster.submit(manifest())
    said = "one reconcile has taken"
    eventually(lambda: said in (running.unhealthy() or ""), timeout_seconds=60, what="it says so")


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
    try:
        story = live(cluster)
    finally:
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
    eventually(lambda: cluster.status().attempt == 2, timeout_seconds=150, what="a second attempt")
    cluster.reaches("Running")
    assert len(cluster.all(JOBS)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(matches=on("PATCH"), times=5, answer=(500, status_body(500, "InternalError"))),
        Fault(matches=on("PATCH"), times=5, answer=(429, status_body(429, "TooManyRequests"))),
        Fault(matches=on("PATCH"), times=5, reset=True),
        Fault(matches=on("PATCH", "/status"), times=5, answer=(409, status_body(409, "Conflict"))),
        Fault(matches=on("PATCH"), times=3, answer=(200, b'{"metadata": {"name": "po')),
        Fault(matches=on("PATCH"), hang=True),
        Fault(matches=on("PATCH"), times=3, delay_seconds=1.0),
    ],
    ids=["500", "429", "reset", "conflict", "undecodable", "half-open", "slow"],
)
def test_failing_writes_are_repeated_until_they_succeed(
    cluster: Cluster,
    start: StartOperator,
    proxy: FaultProxy,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    proxy.inject(fault)
    operator = start(proxy)
    if fault.hang:
        monkeypatch.setattr(operator.client, "_timeout_seconds", 2.0)
    cluster.submit(manifest())
    cluster.reaches("Running")
    assert fault.times == 0
    retries = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "retry"]
    assert all({"job", "attempt", "namespace"} <= fields.keys() for fields in retries)
    assert bool(retries) == (not fault.delay_seconds)
