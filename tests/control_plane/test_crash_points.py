"""Operators are killed after their writes, others take over, and the job's story is the one that nobody disturbed.

Lives cost minutes of processor time, so an operator is killed again and again in one life: after each eighth write, in
eight lives whose first kills lie one write apart. With `--thorough` one is killed once in a life, after its k-th write,
for every k.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.client import Client
from tests.support.cluster_fixtures import MakeProxy, create_namespace
from tests.support.fault_proxy import FaultProxy, Request
from tests.support.last_lines import TellAtTheEnd
from tests.support.running_operator import Cluster, start_operator
from tests.support.scripted_life import Story, Successor, live

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(1200)]
STRIDE = 8
AT_ONCE = STRIDE
STALE_SECONDS = 2.0

ONE_JOB_EACH = {"1": 1, "2": 1, "3": 1}
TOLD = Counter({"LearnersReady": 3, "Started": 1, "Suspended": 1, "Resumed": 1, "Restarting": 1, "Complete": 1})


@dataclass(frozen=True, kw_only=True, slots=True)
class Lived:
    """A life, and what its operators met: how many `crashes`, the `writes` of the busiest, and how many ended with a
    status whose Events were still to be told.
    """

    story: Story
    crashes: int
    writes: int
    left_untold: int

    def is_as(self, undisturbed: Lived) -> bool:
        return self.story == undisturbed.story and self.tells_of_it()

    def tells_of_it(self) -> bool:
        """No Event is told twice or for nothing; one is missing only where an operator was cut off just before it."""
        told = self.story.told
        return told <= TOLD and (TOLD - told).total() <= self.left_untold


LiveThrough = Callable[..., Lived]


@pytest.fixture
def live_through(admin: Client, make_proxy: MakeProxy) -> LiveThrough:
    """A whole life in a namespace of its own; its first operators are cut off after `crash_at` writes and succeeded.

    So are their successors, after `again` writes each, if any. Two operators `fight` over a Lease.
    """

    def lived(
        crash_at: int | None, again: int | None = None, *, stale_seconds: float = 0.0, fight: bool = False
    ) -> Lived:
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
            story = live(cluster)
        finally:
            for successor in successors:
                successor.stop()
            cluster.learners.close()
        return Lived(
            story=story,
            crashes=sum(successor.crashes for successor in successors),
            writes=max(len(proxy.writes) for proxy in proxies),
            left_untold=sum(ends_with_status(proxy.writes) for proxy in proxies),
        )

    return lived


def ends_with_status(writes: list[Request]) -> bool:
    return bool(writes) and writes[-1].path.endswith("/status")


Sweep = Callable[..., None]


@pytest.fixture
def sweep(live_through: LiveThrough, request: pytest.FixtureRequest, tell_at_the_end: TellAtTheEnd) -> Sweep:
    """Crashes in the lives of `crash_points`; fails telling those whose story is not the one without a crash."""

    def swept(name: str, **how: float) -> None:
        undisturbed = live_through(None, **how)
        story = undisturbed.story
        assert (story.jobs_by_attempt, story.left, story.ending.phase) == (ONE_JOB_EACH, 0, "Succeeded")
        assert undisturbed.tells_of_it(), undisturbed
        crashes = crash_points(undisturbed.writes, thorough=request.config.getoption("thorough"))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = list(pool.map(lambda crash: live_through(*crash, **how), crashes))
        killed = sum(life.crashes for life in lives)
        passed = sum(life.crashes for life in lives if life.is_as(undisturbed))
        told = (
            f"{killed} crash points tried in {len(lives)} lives of about {undisturbed.writes} writes, {passed} passed"
        )
        tell_at_the_end(f"crash-point sweep, {name}: {told}")
        different = {crash: life for crash, life in zip(crashes, lives, strict=True) if not life.is_as(undisturbed)}
        assert different == {}, f"by (first crash, and again), where undisturbed it is {undisturbed}"
        assert killed >= undisturbed.writes / 2

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
