"""The operator is killed after its k-th write, for every k of a whole life; another takes over and ends the same."""

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

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("installed"), pytest.mark.timeout(600)]
AT_ONCE = 6
STALE_SECONDS = 2.0

ONE_JOB_EACH = {"1": 1, "2": 1, "3": 1}

LiveThrough = Callable[..., tuple[Story, list[FaultProxy], int]]


@pytest.fixture
def live_through(admin: Client, make_proxy: MakeProxy) -> LiveThrough:
    """A whole life in a namespace of its own; its first operator is cut off after `crash_at` writes and succeeded."""

    def lived(crash_at: int | None, *, stale_seconds: float = 0.0) -> tuple[Story, list[FaultProxy], int]:
        cluster = Cluster(admin, create_namespace(admin))
        proxies = [make_proxy(stale_seconds)]
        proxies[0].cut_after_writes = crash_at

        def begin(proxy: FaultProxy | None) -> tuple[Operator, FaultProxy]:
            if proxy is None:
                proxies.append(proxy := make_proxy(stale_seconds))
            return start_operator(cluster, proxy), proxy

        successor = Successor(proxies[0], begin)
        try:
            return live(cluster), proxies, successor.crashes
        finally:
            successor.stop()
            cluster.learners.close()

    return lived


def sweep(live_through: LiveThrough, undisturbed: Story, points: Iterable[int], **how: float) -> str:
    """Tries every crash point; raises AssertionError for the first that ends otherwise."""

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
    live_through: LiveThrough, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, proxies, _ = live_through(None, stale_seconds=STALE_SECONDS)
    assert (undisturbed.jobs_by_attempt, undisturbed.left) == (ONE_JOB_EACH, 0)
    points = range(1, len(proxies[0].writes) + 1, 6)
    said = sweep(live_through, undisturbed, points, stale_seconds=STALE_SECONDS)
    with capsys.disabled():
        print(f"\ncrash-point sweep, reads {STALE_SECONDS:.0f} s stale: {said}")
