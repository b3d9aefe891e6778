"""Operators are killed after their writes, each of a whole life; others take over and end the same.

Lives cost minutes of processor time, so an operator is killed again and again in one life: after each eighth write, in
eight lives that begin one write apart, which leaves no write out. With `--thorough` one is killed once in a life, after
its k-th write, for every k.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client
from tests.support.cluster_fixtures import MakeProxy, create_namespace
from tests.support.fault_proxy import FaultProxy
from tests.support.running_operator import Cluster, start_operator
from tests.support.scripted_life import Story, Successor, live

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(1200)]
STRIDE = 8
AT_ONCE = STRIDE
STALE_SECONDS = 2.0

ONE_JOB_EACH = {"1": 1, "2": 1, "3": 1}

LiveThrough = Callable[..., tuple[Story, list[FaultProxy], int]]


@pytest.fixture
def live_through(admin: Client, make_proxy: MakeProxy) -> LiveThrough:
    """A whole life in a namespace of its own; its first operators are cut off after `crash_at` writes and succeeded.

    So are their successors, after `again` writes each, if any. Two operators `fight` over a Lease.
    """

    def lived(
        crash_at: int | None, again: int | None = None, *, stale_seconds: float = 0.0, fight: bool = False
    ) -> tuple[Story, list[FaultProxy], int]:
        cluster = Cluster(admin, create_namespace(admin))
        lease = {"lease_namespace": cluster.namespace, "lease_seconds": 2.0} if fight else {}
        proxies = [make_proxy(stale_seconds) for _ in range(1 + fight)]
        for proxy in proxies:
            proxy.cut_after_writes = crash_at

        def begin(proxy: FaultProxy | None) -> tuple[Operator, FaultProxy]:
            if proxy is None:
                proxies.append(proxy := make_proxy(stale_seconds))
                proxy.cut_after_writes = again
            identity = {"identity": f"operator-{proxies.index(proxy)}"} if fight else {}
            return start_operator(cluster, proxy, **lease, **identity), proxy

        successors = [Successor(proxy, begin) for proxy in proxies.copy()]
        try:
            return live(cluster), proxies, sum(successor.crashes for successor in successors)
        finally:
            for successor in successors:
                successor.stop()
            cluster.learners.close()

    return lived


Sweep = Callable[..., None]


@pytest.fixture
def sweep(live_through: LiveThrough, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Sweep:
    """Crashes after every write of a life; fails naming the lives that end otherwise than one without."""

    def swept(name: str, **how: float) -> None:
        undisturbed, proxies, _ = live_through(None, **how)
        assert (undisturbed.jobs_by_attempt, undisturbed.left) == (ONE_JOB_EACH, 0)
        writes = max(len(proxy.writes) for proxy in proxies)
        crashes = crash_points(writes, thorough=request.config.getoption("thorough"))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = list(pool.map(lambda crash: live_through(*crash, **how), crashes))
        different = [crash for crash, (story, _, _) in zip(crashes, lives, strict=True) if story != undisturbed]
        killed = sum(count for _, _, count in lives)
        passed = sum(count for story, _, count in lives if story == undisturbed)
        with capsys.disabled():
            told = f"{killed} crash points tried in {len(lives)} lives of about {writes} writes, {passed} passed"
            print(f"\ncrash-point sweep, {name}: {told}")
        assert different == [], f"(first crash, and again) after which the story is another: {different}"
        assert killed >= writes / 2

    return swept


def crash_points(writes: int, *, thorough: bool) -> list[tuple[int, int | None]]:
    """For each life after how many writes its operator is killed, and after how many more each successor."""
    if thorough:
        return [(after, None) for after in range(1, writes + 1)]
    return [(first, STRIDE) for first in range(1, STRIDE + 1)]


def test_a_crash_after_any_write_changes_nothing(sweep: Sweep) -> None:
    sweep("one operator")


def test_neither_does_one_while_every_read_is_stale(sweep: Sweep) -> None:
    sweep(f"every read {STALE_SECONDS:.0f} s stale", stale_seconds=STALE_SECONDS)


def test_neither_does_one_of_two_that_fight_over_the_lease(sweep: Sweep) -> None:
    sweep("two operators that fight over a Lease", fight=True)
