"""The lease table alone: rules as sentences, invariants under any order of events."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stepstream_trainer.learner.leases import MAX_REMEMBERED, Grant, LeaseTable, StaleIncarnationError

PATIENCE = 3.0


def table_of(num_slots: int = 8, *, groups: int = 1, expected: int = 1, max_lease_slots: int = 64) -> LeaseTable:
    size = num_slots // groups
    ranges = [range(group * size, (group + 1) * size) for group in range(groups)]
    return LeaseTable(ranges, expected=expected, max_lease_slots=max_lease_slots, patience_seconds=PATIENCE)


def slots_of(grants: list[Grant]) -> list[tuple[int, ...]]:
    return [grant.slots for grant in grants]


def release_all(table: LeaseTable, stream: int, now: float = 0.0) -> None:
    """Every episode of the lease whose slot is to leave ends."""
    for slot in sorted(table.leaving(stream)):
        table.released(stream, slot, now)


def test_one_simulator_gets_one_lease_of_each_group() -> None:
    table = table_of(8, groups=2)
    table.offer(0, "a", 1, 0.0)
    assert [(grant.group, grant.slots) for grant in table.grants(0.0)] == [(0, (0, 1, 2, 3))]
    table.offer(1, "a", 1, 0.0)
    assert [(grant.group, grant.slots) for grant in table.grants(0.0)] == [(1, (4, 5, 6, 7))]
    table.offer(2, "a", 1, 0.0)
    assert table.grants(100.0) == []


def test_each_expected_simulator_gets_its_share_whoever_comes_first() -> None:
    table = table_of(8, expected=4)
    for stream, name in enumerate("abcd"):
        table.offer(stream, name, 1, 0.0)
        assert slots_of(table.grants(0.0)) == [(2 * stream, 2 * stream + 1)]


def test_slots_of_a_simulator_that_does_not_come_go_to_the_others_when_patience_ends() -> None:
    table = table_of(8, expected=2)
    table.offer(0, "a", 1, 0.0)
    table.offer(1, "a", 1, 0.0)
    assert slots_of(table.grants(0.0)) == [(0, 1, 2, 3)]
    assert table.grants(PATIENCE - 0.1) == []
    assert slots_of(table.grants(PATIENCE)) == [(4, 5, 6, 7)]


def test_a_replacement_gets_the_lost_slots_at_once() -> None:
    table = table_of(8, expected=2)
    for stream, name in enumerate(["a", "b", "a", "b"]):
        table.offer(stream, name, 1, 0.0)
    table.grants(0.0)
    table.ended(0, 10.0)
    table.ended(2, 10.0)
    assert table.grants(10.0) == []
    table.offer(4, "a", 2, 10.5)
    assert slots_of(table.grants(10.5)) == [(0, 1, 2, 3)]


def test_a_new_simulator_is_promised_slots_that_follow_at_their_episode_ends() -> None:
    table = table_of(4)
    table.offer(0, "a", 1, 0.0)
    table.grants(0.0)
    table.offer(1, "b", 1, 0.0)
    [grant] = table.grants(0.0)
    assert grant == Grant(stream=1, group=0, slots=(2, 3), promised=True)
    assert table.leaving(0) == {2, 3}
    assert table.released(0, 3, 1.0) == 1
    assert table.num_leased == 4
    assert table.leaving(0) == {2}


def test_a_lease_that_is_half_vacant_gives_way_to_a_smaller_one_of_the_same_simulator() -> None:
    table = table_of(4)
    table.offer(0, "a", 1, 0.0)
    table.grants(0.0)
    table.offer(1, "b", 1, 0.0)
    table.offer(2, "a", 1, 0.0)
    table.grants(0.0)
    release_all(table, 0)
    assert table.grants(1.0) == [Grant(stream=2, group=0, slots=(0, 1), promised=True)]
    release_all(table, 0)
    assert table.spent() == [0]


def test_a_promise_is_kept_by_nobody_when_the_one_who_got_it_is_lost() -> None:
    table = table_of(4)
    table.offer(0, "a", 1, 0.0)
    table.grants(0.0)
    table.offer(1, "b", 1, 0.0)
    table.grants(0.0)
    table.ended(1, 1.0)
    assert table.released(0, 2, 2.0) is None
    assert table.num_leased == 3


def test_a_promise_ends_when_the_lease_that_should_keep_it_is_lost() -> None:
    table = table_of(4)
    table.offer(0, "a", 1, 0.0)
    table.grants(0.0)
    table.offer(1, "b", 1, 0.0)
    table.grants(0.0)
    table.ended(0, 1.0)
    assert table.spent() == [1]


def test_a_simulator_that_started_earlier_is_refused() -> None:
    table = table_of()
    table.offer(0, "a", 2, 0.0)
    with pytest.raises(StaleIncarnationError, match="started later"):
        table.offer(1, "a", 1, 0.0)


def test_of_all_the_simulators_there_ever_were_the_latest_are_remembered() -> None:
    table = table_of()
    for stream in range(MAX_REMEMBERED + 100):
        table.offer(stream, f"pod-{stream}", 2, 0.0)
        table.ended(stream, 0.0)
    assert len(table._newest) == MAX_REMEMBERED
    with pytest.raises(StaleIncarnationError):
        table.offer(-1, "pod-100", 1, 0.0)
    table.offer(-1, "pod-0", 1, 0.0)


def test_a_restarted_simulator_ends_the_streams_of_its_earlier_life() -> None:
    table = table_of(4)
    table.offer(0, "a", 1, 0.0)
    table.grants(0.0)
    table.offer(1, "a", 1, 0.0)
    assert table.offer(2, "a", 2, 1.0) == [1, 0]
    assert slots_of(table.grants(1.0)) == [(0, 1, 2, 3)]


def test_a_guest_is_granted_what_is_free_at_once_where_nobody_is_at_home() -> None:
    table = table_of(8, expected=4)
    table.offer(0, "guest", 1, 0.0, guest=True)
    assert slots_of(table.grants(0.0)) == [tuple(range(8))]


def test_beside_simulators_at_home_a_guest_is_granted_only_what_was_free_for_long() -> None:
    table = table_of(8, expected=2)
    table.offer(0, "a", 1, 0.0)
    table.offer(1, "guest", 1, 0.0, guest=True)
    assert slots_of(table.grants(0.0)) == [(0, 1, 2, 3)]
    assert [(grant.stream, grant.slots) for grant in table.grants(PATIENCE)] == [(1, (4, 5, 6, 7))]


def test_a_simulator_at_home_that_joins_is_promised_all_that_a_guest_serves() -> None:
    table = table_of(8, expected=2)
    table.offer(0, "guest", 1, 0.0, guest=True)
    table.grants(0.0)
    table.offer(1, "a", 1, 0.0)
    assert table.grants(0.0) == [Grant(stream=1, group=0, slots=tuple(range(8)), promised=True)]
    release_all(table, 0)
    assert table.spent() == [0]


def test_a_simulator_at_home_takes_from_a_guest_before_it_takes_from_others() -> None:
    table = table_of(8, expected=2)
    table.offer(0, "a", 1, 0.0)
    table.offer(1, "guest", 1, 0.0, guest=True)
    table.grants(0.0)
    table.grants(PATIENCE)
    table.offer(2, "b", 1, PATIENCE)
    assert table.grants(PATIENCE) == [Grant(stream=2, group=0, slots=(4, 5, 6, 7), promised=True)]


def test_guests_share_among_themselves_where_nobody_is_at_home() -> None:
    table = table_of(8)
    table.offer(0, "g", 1, 0.0, guest=True)
    table.offer(1, "h", 1, 0.0, guest=True)
    assert slots_of(table.grants(0.0)) == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_no_lease_is_larger_than_a_message_can_carry() -> None:
    table = table_of(8, max_lease_slots=3)
    for stream in range(4):
        table.offer(stream, "a", 1, 0.0)
    grants = [grant for _ in range(3) for grant in table.grants(0.0)]
    assert slots_of(grants) == [(0, 1, 2), (3, 4, 5), (6, 7)]


class LeaseMachine(RuleBasedStateMachine):
    """Simulators come, go, are restarted; episodes end; time passes. One of them, d, is a guest."""

    def __init__(self) -> None:
        super().__init__()
        self.table = table_of(12, groups=2, expected=3, max_lease_slots=5)
        self.now = 0.0
        self.streams = itertools.count()
        self.open: dict[int, tuple[str, int]] = {}
        self.leases: dict[int, Grant] = {}
        self.served: dict[int, set[int]] = {}
        self.incarnation = dict.fromkeys("abcd", 1)

    def end(self, stream: int) -> None:
        self.table.ended(stream, self.now)
        self.open.pop(stream, None)
        self.leases.pop(stream, None)
        self.served.pop(stream, None)

    @rule(name=st.sampled_from("abcd"))
    def offers(self, name: str) -> None:
        if any(name == other and stream not in self.leases for stream, (other, _) in self.open.items()):
            return  # one spare offer is all that a simulator keeps
        stream = next(self.streams)
        self.table.offer(stream, name, self.incarnation[name], self.now, guest=name == "d")
        self.open[stream] = (name, self.incarnation[name])
        self.grant()

    @rule(name=st.sampled_from("abcd"))
    def restarts(self, name: str) -> None:
        self.incarnation[name] += 1
        stream = next(self.streams)
        for outlived in self.table.offer(stream, name, self.incarnation[name], self.now, guest=name == "d"):
            self.end(outlived)
        assert not any(name == other for other, _ in self.open.values())
        self.open[stream] = (name, self.incarnation[name])
        self.grant()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def loses_a_stream(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.open))))
        self.grant()

    @precondition(lambda self: any(self.table.leaving(stream) for stream in self.leases))
    @rule(data=st.data())
    def ends_an_episode(self, data: st.DataObject) -> None:
        candidates = [(stream, slot) for stream in self.leases for slot in sorted(self.table.leaving(stream))]
        stream, slot = data.draw(st.sampled_from(candidates))
        receiver = self.table.released(stream, slot, self.now)
        self.served[stream].remove(slot)
        if receiver is not None:
            self.served[receiver].add(slot)
        self.grant()

    @rule(seconds=st.sampled_from([0.125, 1.0, 5.0]))  # exact in binary: patience ends when it should
    def waits(self, seconds: float) -> None:
        self.now += seconds
        self.grant()

    def grant(self) -> None:
        for grant in self.table.grants(self.now):
            assert grant.stream in self.open
            assert grant.stream not in self.leases
            assert len(grant.slots) <= 5
            self.leases[grant.stream] = grant
            self.served[grant.stream] = set() if grant.promised else set(grant.slots)
        for stream in self.table.spent():
            assert not self.served[stream]
            self.end(stream)

    @invariant()
    def every_slot_is_in_at_most_one_lease(self) -> None:
        served = [slot for slots in self.served.values() for slot in slots]
        assert len(served) == len(set(served)) == self.table.num_leased

    @invariant()
    def slots_are_promised_only_to_lanes_that_wait_for_them(self) -> None:
        for stream in self.leases:
            for slot in self.table.leaving(stream):
                receiver = self.table.receiver_of(slot)
                assert receiver is None or (receiver != stream and slot in self.leases[receiver].slots)

    @rule()
    def outlasts_its_patience(self) -> None:
        offered = any(stream not in self.leases for stream in self.open)
        before = self.table.num_leased
        self.now += PATIENCE
        self.grant()
        assert self.table.num_leased > before or before == 12 or not offered


TestLeases = LeaseMachine.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
