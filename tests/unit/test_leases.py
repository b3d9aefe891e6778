"""Leases: every slot in at most one, all of them served in the end, moved only when their episodes end."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from stepstream_trainer.learner.leases import Grant, LeaseTable, StaleIncarnationError

PATIENCE_SECONDS = 3.0


def table(*, groups: int = 2, size: int = 8, expected: int = 2) -> LeaseTable:
    ranges = [range(group * size, (group + 1) * size) for group in range(groups)]
    return LeaseTable(ranges, expected=expected, patience_seconds=PATIENCE_SECONDS)


def serve_until_quiet(leases: LeaseTable, simulators: list[str], now: float, first_stream: int = 0) -> list[Grant]:
    """Each simulator keeps one spare offer open, as real ones do, until nothing more is granted."""
    granted: list[Grant] = []
    streams = first_stream
    spare: dict[str, int] = {}
    while True:
        for simulator in simulators:
            if simulator not in spare:
                leases.offer(streams, simulator, 1, now)
                spare[simulator] = streams
                streams += 1
        new = leases.grants(now)
        if not new:
            return granted
        granted += new
        taken = {grant.stream for grant in new}
        spare = {simulator: stream for simulator, stream in spare.items() if stream not in taken}


def test_expected_simulators_share_each_group_evenly() -> None:
    granted = serve_until_quiet(table(expected=2), ["a", "b"], now=0.0)
    assert sorted((grant.group, len(grant.slots)) for grant in granted) == [(0, 4), (0, 4), (1, 4), (1, 4)]


def test_slots_of_simulators_that_do_not_come_go_to_those_present_after_a_while() -> None:
    leases = table(expected=4)
    served = serve_until_quiet(leases, ["a"], now=0.0)
    assert sum(len(grant.slots) for grant in served) == 4
    serve_until_quiet(leases, ["a"], now=PATIENCE_SECONDS, first_stream=100)
    assert leases.leased == 16


def test_a_lost_stream_frees_its_slots_for_the_next_offer() -> None:
    leases = table(groups=1, expected=1)
    (grant,) = serve_until_quiet(leases, ["a"], now=0.0)
    leases.ended(grant.stream, now=1.0)
    leases.offer(99, "b", 1, 1.0)
    assert {slot for new in leases.grants(1.0 + PATIENCE_SECONDS) for slot in new.slots} == set(range(8))


def test_a_newcomer_gets_its_share_as_episodes_end_and_not_before() -> None:
    leases = table(groups=1, expected=1)
    (grant,) = serve_until_quiet(leases, ["a"], now=0.0)
    leases.expected = 2
    leases.offer(99, "b", 1, 1.0)
    assert leases.grants(1.0) == []
    leaving = leases.leaving(grant.stream)
    assert len(leaving) == 4
    staying = [slot for slot in range(8) if slot not in leaving]
    assert leases.episodes_ended(grant.stream, staying, 2.0) == []
    assert leases.episodes_ended(grant.stream, leaving, 2.0) == leaving
    assert [new.slots for new in leases.grants(2.0)] == [tuple(leaving)]


def test_a_later_start_of_a_simulator_ends_its_earlier_leases() -> None:
    leases = table(groups=1, expected=1)
    (grant,) = serve_until_quiet(leases, ["a"], now=0.0)
    assert grant.stream in leases.offer(50, "a", 2, 1.0)
    assert leases.leased == 0
    with pytest.raises(StaleIncarnationError):
        leases.offer(51, "a", 1, 1.0)


class AnyOrder(RuleBasedStateMachine):
    """Offers, ends, grants and moves in any order."""

    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.leases = table(expected=3)
        self.now = 0.0
        self.numbers = 0
        self.held: dict[int, set[int]] = {}

    @rule(target=streams, simulator=st.sampled_from("abcde"))
    def offer(self, simulator: str) -> int:
        self.numbers += 1
        self.leases.offer(self.numbers, simulator, 1, self.now)
        return self.numbers

    @rule(stream=consumes(streams))
    def end(self, stream: int) -> None:
        self.leases.ended(stream, self.now)
        self.held.pop(stream, None)

    @rule(seconds=st.floats(0, 5))
    def grant(self, seconds: float) -> None:
        self.now += seconds
        for grant in self.leases.grants(self.now):
            assert grant.stream not in self.held
            self.held[grant.stream] = set(grant.slots)

    @rule(stream=streams, slots=st.sets(st.integers(0, 15)))
    def episodes_end(self, stream: int, slots: set[int]) -> None:
        ended = slots & self.held.get(stream, set())
        leaving = set(self.leases.leaving(stream))
        moved = set(self.leases.episodes_ended(stream, sorted(ended), self.now))
        assert moved == ended & leaving
        self.held.get(stream, set()).difference_update(moved)

    @invariant()
    def every_slot_is_in_at_most_one_lease(self) -> None:
        held = [slot for slots in self.held.values() for slot in slots]
        assert len(held) == len(set(held)) == self.leases.leased


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, deadline=None)
