"""Leadership by a Lease of the real API server, through proxies that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.elector import Elector, LeaseSettings, NotLeading
from stepstream_operator.runtime.resources import LEASES
from tests.support.cluster_fixtures import MakeProxy, client_through
from tests.support.control_plane import ControlPlane
from tests.support.daemons import eventually
from tests.support.fault_proxy import Fault, FaultProxy, on, status_body

pytestmark = pytest.mark.control_plane


@dataclass
class Candidate:
    proxy: FaultProxy
    elector: Elector
    stop: threading.Event = field(default_factory=threading.Event)
    lost: list[str] = field(default_factory=list)

    def start(self) -> None:
        threading.Thread(target=self.elector.run, args=(self.stop,), daemon=True).start()

    def may_write(self) -> bool:
        try:
            self.elector.ensure_leading()
        except NotLeading:
            return False
        return True


Enter = Callable[..., Candidate]


@pytest.fixture
def enter(make_proxy: MakeProxy, namespace: str) -> Iterator[Enter]:
    """Starts a candidate for one Lease; a `hurried` one gives it up, or takes it, after seconds."""
    patient = LeaseSettings(
        name="operator",
        namespace=namespace,
        lease_duration_seconds=120,
        renew_deadline_seconds=90,
        retry_seconds=0.1,
    )
    quick = replace(patient, lease_duration_seconds=4, renew_deadline_seconds=2.5)
    candidates: list[Candidate] = []

    def started(identity: str, *, hurried: bool = False) -> Candidate:
        settings = quick if hurried else patient
        proxy = make_proxy()
        lost: list[str] = []
        client = client_through(proxy, timeout_seconds=1.0 if hurried else 5.0)
        elector = Elector(client, settings, identity, lost.append)
        candidates.append(Candidate(proxy, elector, lost=lost))
        candidates[-1].start()
        return candidates[-1]

    yield started
    for candidate in candidates:
        candidate.stop.set()


def leads(candidate: Candidate) -> None:
    eventually(candidate.may_write, timeout_seconds=60, what=f"{candidate.elector.identity} leads")


def test_one_of_two_leads(enter: Enter) -> None:
    first = enter("first")
    leads(first)
    second = enter("second")
    eventually(lambda: len(second.proxy.requests) > 5, timeout_seconds=60, what="the second tried")
    assert (first.may_write(), second.may_write()) == (True, False)


def test_a_leader_that_stops_gives_the_lease_back_at_once(enter: Enter, admin: Client, namespace: str) -> None:
    first = enter("first")
    leads(first)
    first.stop.set()
    eventually(
        lambda: (admin.get(LEASES, namespace, "operator") or {})["spec"].get("holderIdentity") == "",
        timeout_seconds=60,
        what="the Lease is free",
    )
    assert not first.may_write()
    leads(enter("second"))


def test_a_leader_cut_off_stops_writing_before_another_may_start(enter: Enter) -> None:
    first = enter("first", hurried=True)
    leads(first)
    second = enter("second", hurried=True)
    first.proxy.cut()

    def succeeded() -> bool:
        taken = second.may_write()
        assert not (taken and first.may_write())
        return taken

    eventually(succeeded, timeout_seconds=60, what="the second leads")
    eventually(lambda: first.lost, timeout_seconds=60, what="the first ends its process")


def test_a_leader_whose_lease_is_stolen_stops(enter: Enter, admin: Client, namespace: str) -> None:
    first = enter("first")
    leads(first)
    stolen = {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 60}}
    admin.merge(LEASES, namespace, "operator", stolen)
    eventually(lambda: first.lost == ["another holds the Lease"], timeout_seconds=60, what="the first ends")
    assert not first.may_write()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(matches=on("", "/leases"), times=3, answer=(500, status_body(500, "InternalError"))),
        Fault(matches=on("PATCH", "/leases"), times=2, answer=(409, status_body(409, "Conflict"))),
        Fault(matches=on("", "/leases"), times=3, reset=True),
        Fault(matches=on("GET", "/leases"), times=1, hang=True),
        Fault(matches=on("", "/leases"), times=4, delay_seconds=0.5),
    ],
    ids=["500", "conflict", "reset", "half-open", "slow"],
)
def test_short_faults_within_the_deadline_cost_no_leadership(enter: Enter, fault: Fault) -> None:
    first = enter("first")
    leads(first)
    first.proxy.inject(fault)
    assert fault.hit.wait(60)
    eventually(lambda: fault.times == 0, timeout_seconds=60, what="every fault met")
    assert (first.may_write(), first.lost) == (True, [])


def test_a_deleted_lease_is_made_anew(enter: Enter, admin: Client, namespace: str) -> None:
    first = enter("first")
    leads(first)
    admin.delete(LEASES, namespace, "operator")
    eventually(lambda: admin.get(LEASES, namespace, "operator"), timeout_seconds=60, what="a new Lease")
    assert first.may_write()


def test_a_leader_goes_on_leading_after_a_restart_of_the_api_server(
    enter: Enter, control_plane: ControlPlane, admin: Client, namespace: str
) -> None:
    def renewed() -> str:
        return str((admin.get(LEASES, namespace, "operator") or {})["spec"]["renewTime"])

    leader = enter("first")
    leads(leader)
    control_plane.kill_api_server()
    control_plane.start_api_server()
    before = renewed()
    eventually(lambda: renewed() > before, timeout_seconds=60, what="the Lease is renewed")
    assert (leader.may_write(), leader.lost) == (True, [])
