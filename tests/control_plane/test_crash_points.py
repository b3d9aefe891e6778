"""Operators are killed after their k-th write, for every k of a whole life; others take over and end the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client
from tests.support.cluster_fixtures import MakeProxy, create_namespace
from tests.support.fault_proxy import FaultProxy
from tests.support.running_operator import Cluster, start_operator
from tests.support.scripted_life import Story, Successor, live

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(1200)]
AT_ONCE = 6
SAMPLED = 5
"""Every so manieth point of the slower sweeps; all of them with `--thorough`."""
STALE_SECONDS = 2.0

ONE_JOB_EACH = {"1": 1, "2": 1, "3": 1}

LiveThrough = Callable[..., tuple[Story, list[FaultProxy], int]]


@pytest.fixture
def live_through(admin: Client, make_proxy: MakeProxy) -> LiveThrough:
    """A whole life in a namespace of its own; its first operators are cut off after `crash_at` writes and succeeded.

    Two operators `fight` over a Lease; their writes to it count as any others.
    """

    def lived(
        crash_at: int | None, *, stale_seconds: float = 0.0, fight: bool = False
    ) -> tuple[Story, list[FaultProxy], int]:
        cluster = Cluster(admin, create_namespace(admin))
        lease = {"lease_namespace": cluster.namespace, "lease_seconds": 2.0} if fight else {}
        proxies = [make_proxy(stale_seconds) for _ in range(1 + fight)]
        for proxy in proxies:
            proxy.cut_after_writes = crash_at

        def begin(proxy: FaultProxy | None) -> tuple[Operator, FaultProxy]:
            if proxy is None:
                proxies.append(proxy := make_proxy(stale_seconds))
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


@pytest.fixture
def every(request: pytest.FixtureRequest) -> int:
    """The distance of the slower sweeps' points."""
    return 1 if request.config.getoption("thorough") else SAMPLED


def sweep(live_through: LiveThrough, undisturbed: Story, points: Iterable[int], **how: float) -> str:
    """Tries every crash point. Raises AssertionError naming those that end otherwise."""

    def attempt(crash_at: int) -> tuple[int, Story, int]:
        story, _, crashes = live_through(crash_at, **how)
        return crash_at, story, crashes

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(attempt, points))
    different = [crash_at for crash_at, story, _ in outcomes if story != undisturbed]
    crashed = sum(crashes for _, _, crashes in outcomes)
    assert different == [], f"after these writes a crash changed the story: {different}"
    return f"{len(outcomes)} crash points tried, {len(outcomes) - len(different)} passed, {crashed} operators killed"


def test_a_crash_after_any_write_changes_nothing(live_through: LiveThrough, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed, proxies, _ = live_through(None)
    assert (undisturbed.jobs_by_attempt, undisturbed.left) == (ONE_JOB_EACH, 0)
    said = sweep(live_through, undisturbed, range(1, len(proxies[0].writes) + 1))
    with capsys.disabled():
        print(f"\ncrash-point sweep: {said}")


def test_neither_does_one_while_every_read_is_stale(
    live_through: LiveThrough, every: int, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, proxies, _ = live_through(None, stale_seconds=STALE_SECONDS)
    assert (undisturbed.jobs_by_attempt, undisturbed.left) == (ONE_JOB_EACH, 0)
    points = range(1, len(proxies[0].writes) + 1, every)
    said = sweep(live_through, undisturbed, points, stale_seconds=STALE_SECONDS)
    with capsys.disabled():
        print(f"\ncrash-point sweep, reads {STALE_SECONDS:.0f} s stale: {said}")


def test_neither_does_one_of_two_that_fight_over_the_lease(
    live_through: LiveThrough, every: int, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, proxies, _ = live_through(None, fight=True)
    assert (undisturbed.jobs_by_attempt, undisturbed.left) == (ONE_JOB_EACH, 0)
    points = range(1, max(len(proxy.writes) for proxy in proxies) + 1, every)
    said = sweep(live_through, undisturbed, points, fight=True)
    with capsys.disabled():
        print(f"\ncrash-point sweep, two operators and a Lease: {said}")
