"""The operator where no API server answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import kubernetes.client
import pytest
import yaml

from stepstream_operator.controller.operator import Operator
from stepstream_operator.metrics import API_REQUESTS
from tests.support.daemons import free_ports
from tests.support.operator_process import OperatorProcess
from tests.support.running_operator import quick_settings


def test_it_is_healthy_but_not_ready_before_its_first_lists(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    [port] = free_ports(1)
    content = {
        "clusters": [{"name": "none", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "nobody"}}],
        "current-context": "none",
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    process = OperatorProcess([], kubeconfig=kubeconfig, log=tmp_path / "log", until="/healthz")
    try:
        assert process.ask("/readyz") == (503, "waiting for the first lists from the API server\n")
    finally:
        assert process.stop() == 0


def test_requests_about_its_lease_are_counted_like_all_others() -> None:
    settings = quick_settings("games", lease_namespace="games")
    operator = Operator(settings, lambda: kubernetes.client.Configuration(host="http://127.0.0.1:1"))
    assert operator._elector is not None
    operator._elector.attempt()
    labels = {"verb": "get", "resource": "leases", "code": "<error>"}
    assert operator.metrics.registry.get_sample_value(API_REQUESTS.name, labels) == 1


def test_it_ends_a_reconcile_of_a_worker_whose_colleagues_are_still_being_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, ended, run = threading.Event(), threading.Event(), Operator._run

    def run_slowly(target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = run(target, *arguments)
        if target.__name__ == "_work":
            assert began.wait(60)
            time.sleep(0.1)
        return thread

    def reconcile(job: object) -> None:
        began.set()
        time.sleep(0.2)
        ended.set()

    monkeypatch.setattr("stepstream_operator.controller.operator.STOP_SECONDS", 60.0)
    monkeypatch.setattr(Operator, "_run", staticmethod(run_slowly))
    monkeypatch.setattr(Operator, "synced", True)
    operator = Operator(quick_settings("default"), lambda: kubernetes.client.Configuration(host="http://127.0.0.1:1"))
    monkeypatch.setattr(operator.reconciler, "reconcile", reconcile)
    operator.queue.add(("default", "pong"))
    operator.start()
    assert began.wait(60)
    operator.stop()
    assert ended.is_set()
