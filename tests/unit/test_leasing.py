"""Leases at work, without a wire: who is told what when streams come, go, hang, or outlive their simulator."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from stepstream_trainer.channel import ROWS_SECONDS
from stepstream_trainer.learner.homes import Need, Place
from stepstream_trainer.learner.homing import Homing, Hub, Spoke
from stepstream_trainer.learner.leases import LeaseTable
from stepstream_trainer.learner.leasing import Leasing, SentElsewhereError, Service, Stream, StreamOverError, Turn
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.rows import START, TERMINATED, VACANT, Rows, Spaces
from tests.support.data_plane import Counts
from tests.support.learners import NeedsInMemory

SPACES = Spaces(shape=(), dtype=np.dtype(np.float32), num_actions=4, num_categories=0)


@dataclass(slots=True)
class Desk:
    """Leasing with four slots in one group, a clock to turn, and a note of what was cancelled."""

    slots: Slots = field(default_factory=lambda: Slots(SPACES, num_slots=4, groups=1, deterministic=True))
    now: float = 0.0
    cancelled: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    leasing: Leasing = field(init=False)

    def __post_init__(self) -> None:
        table = LeaseTable([range(4)], expected=1, max_lease_slots=4)
        self.leasing = Leasing(self.slots, table, self.counts, clock=lambda: self.now, homing=self.homing())
        self.leasing.begin()

    def homing(self) -> Homing | None:
        return None

    def offer(self, name: str, incarnation: int = 1, *, guest: bool = False) -> Stream:
        return self.leasing.offer(name, incarnation, lambda: self.cancelled.append(name), guest=guest)

    def bring(self, stream: Stream, *flags: int) -> None:
        """Rows of a lease, all lanes the same observation."""
        zeros = np.zeros(len(flags), np.float32)
        rows = Rows(observation=zeros, reward=zeros, flags=np.array(flags, np.uint8), final_observation=zeros[:0])
        self.leasing.write_rows(stream, rows)

    def turn(self, stream: Stream) -> Turn:
        turn = self.leasing.wait_turn(stream, 0.0)
        assert turn is not None
        return turn

    def play(self) -> None:
        self.slots.post_actions(0, np.zeros(4, np.int64))


def test_an_offer_becomes_a_lease_and_the_next_one_waits() -> None:
    desk = Desk()
    first, second = desk.offer("a"), desk.offer("a")
    lanes = desk.leasing.wait_lease(first, 0.0)
    assert lanes is not None
    assert lanes.slot_n.tolist() == [0, 1, 2, 3]
    assert desk.leasing.wait_lease(second, 0.0) is None
    assert (desk.counts.leases, desk.counts.streams) == (4, 2)


def test_a_slot_is_released_by_one_and_adopted_by_the_other_in_the_same_turn() -> None:
    desk = Desk()
    donor = desk.offer("a")
    desk.bring(donor, *[START] * 4)
    receiver = desk.offer("b")
    assert [start.later for start in receiver.starts] == [True, True]
    desk.bring(receiver, VACANT, VACANT)
    desk.play()
    assert desk.turn(donor).release == [2, 3]
    assert desk.leasing.wait_turn(receiver, 0.0) is None
    desk.bring(donor, 0, 0, TERMINATED, 0)
    desk.play()
    assert desk.turn(donor).release == []
    assert desk.turn(receiver).actions.adopted == [(2, 1)]
    desk.bring(donor, 0, 0, VACANT, 0)
    desk.bring(receiver, 0, VACANT)
    assert desk.slots.wait_group(0, 0.0)
    assert desk.leasing.service() == Service(leased=4, simulators=2)


def test_an_episode_that_ended_before_the_release_was_told_is_followed_by_another_one_here() -> None:
    desk = Desk()
    donor = desk.offer("a")
    desk.bring(donor, *[START] * 4)
    desk.play()
    desk.turn(donor)
    desk.offer("b")
    desk.bring(donor, TERMINATED, TERMINATED, TERMINATED, TERMINATED)
    desk.play()
    assert desk.turn(donor).release == [2, 3]
    desk.bring(donor, 0, 0, 0, 0)
    assert desk.slots.wait_group(0, 0.0)


def test_a_slot_that_is_ahead_of_the_lease_that_adopts_it_begins_a_turn_later() -> None:
    desk = Desk()
    donor = desk.offer("a")
    desk.bring(donor, *[START] * 4)
    receiver = desk.offer("b")
    desk.bring(receiver, VACANT, VACANT)
    desk.play()
    desk.turn(donor)
    desk.bring(donor, 0, 0, TERMINATED, 0)
    desk.play()
    desk.turn(donor)
    desk.bring(donor, 0, 0, VACANT, TERMINATED)  # while the receiver has yet to take slot 2's action
    assert desk.turn(receiver).actions.adopted == [(2, 1)]
    desk.bring(receiver, 0, VACANT)
    desk.play()
    assert desk.turn(receiver).actions.adopted == [(3, 1)]
    desk.turn(donor)
    desk.bring(donor, 0, 0, VACANT, VACANT)
    desk.bring(receiver, 0, 0)
    assert desk.slots.wait_group(0, 0.0)


def test_a_simulators_turns_are_told_and_its_rebuilding_is_none() -> None:
    desk = Desk()
    stream = desk.offer("a")
    desk.bring(stream, *[START] * 4)
    assert desk.counts.turns == {}
    desk.play()
    desk.turn(stream)
    desk.bring(stream, 0, 0, 0, 0)
    assert desk.counts.turns == {"a": 1}


def test_slots_of_a_lost_stream_are_rebuilt_by_the_next() -> None:
    desk = Desk()
    lost = desk.offer("a")
    desk.bring(lost, *[START] * 4)
    desk.play()
    desk.leasing.end(lost)
    successor = desk.offer("a", 2)
    assert [len(start.actions) for start in successor.starts] == [4] * 4
    assert desk.counts.replayed_steps == desk.leasing.service().rebuilding == 4
    with pytest.raises(StreamOverError):
        desk.bring(lost, 0, 0, 0, 0)
    desk.bring(successor, 0, 0, 0, 0)
    assert desk.leasing.service().rebuilding == 0
    assert desk.slots.wait_group(0, 0.0)


def test_a_restarted_simulator_ends_the_streams_of_its_earlier_life() -> None:
    desk = Desk()
    earlier = desk.offer("a", 1)
    later = desk.offer("a", 2)
    assert desk.cancelled == ["a"]
    with pytest.raises(StreamOverError):
        desk.leasing.wait_lease(earlier, 0.0)
    assert desk.leasing.wait_lease(later, 0.0) is not None


def test_a_simulator_that_hangs_loses_its_slots() -> None:
    desk = Desk()
    hanging = desk.offer("a")
    desk.now = ROWS_SECONDS - 1.0
    desk.leasing.look()
    assert desk.cancelled == []
    desk.now = ROWS_SECONDS + 1.0
    desk.leasing.look()
    assert desk.cancelled == ["a"]
    assert desk.leasing.service() == Service()
    with pytest.raises(StreamOverError):
        desk.leasing.wait_turn(hanging, 0.0)


def test_a_simulator_that_waits_for_actions_does_not_hang() -> None:
    desk = Desk()
    waiting = desk.offer("a")
    desk.bring(waiting, *[START] * 4)
    desk.now = 100 * ROWS_SECONDS
    desk.leasing.look()
    assert desk.cancelled == []


def test_what_was_rebuilt_differently_is_counted() -> None:
    desk = Desk()
    lost = desk.offer("a")
    desk.bring(lost, *[START] * 4)
    desk.leasing.end(lost)
    desk.slots.observation[1] = 7.0
    desk.bring(desk.offer("a", 2), *[START] * 4)
    assert desk.counts.differing == 1


def test_an_episode_that_was_rebuilt_otherwise_while_its_row_was_awaited_is_counted() -> None:
    desk = Desk()
    lost = desk.offer("a")
    desk.bring(lost, *[START] * 4)
    desk.play()
    desk.leasing.end(lost)
    desk.bring(desk.offer("a", 2), 0, START, 0, START)
    assert desk.counts.differing == 2


def test_stopping_ends_every_stream_and_refuses_new_ones() -> None:
    desk = Desk()
    lease, spare = desk.offer("a"), desk.offer("a")
    desk.leasing.stop()
    with pytest.raises(StreamOverError):
        desk.leasing.wait_turn(lease, 60.0)
    with pytest.raises(StreamOverError):
        desk.leasing.wait_lease(spare, 60.0)
    with pytest.raises(StreamOverError):
        desk.offer("b")


@dataclass(slots=True)
class Branch(Desk):
    """The desk of a learner of two; the other's needs are what a test says they are."""

    rank: int = 0
    shared: dict[int, Need] = field(default_factory=dict)

    def homing(self) -> Homing:
        board = NeedsInMemory(rank=self.rank, shared=self.shared)
        return Spoke(board, 1, lambda: self.now) if self.rank else Hub(board, 2, lambda: self.now)

    def sent_to(self, stream: Stream) -> Place:
        with pytest.raises(SentElsewhereError) as sent:
            self.leasing.wait_lease(stream, 0.0)
        return sent.value.place


def test_an_offer_that_belongs_to_another_learner_is_not_taken_in() -> None:
    hub = Branch()
    hub.offer("a")
    with pytest.raises(SentElsewhereError) as sent:
        hub.offer("b")
    assert sent.value.place == Place(rank=1)
    assert hub.counts.streams == 1


def test_a_spare_stream_goes_to_a_learner_that_has_been_in_need_for_long_and_a_lease_never() -> None:
    hub = Branch()
    lease, spare = hub.offer("a"), hub.offer("a")
    hub.shared[1] = Need(free_slots=4)
    for hub.now in (0.0, 2.9):
        hub.leasing.look()
        assert hub.leasing.wait_lease(spare, 0.0) is None
    hub.now = 3.0
    hub.leasing.look()
    assert hub.sent_to(spare) == Place(rank=1, guest=True)
    assert hub.leasing.wait_lease(lease, 0.0) is not None
    assert hub.leasing.service() == Service(leased=4, simulators=1)


def test_the_others_hear_of_free_slots_and_of_who_is_here() -> None:
    branch = Branch(rank=1)
    lease = branch.offer("a")
    branch.leasing.look()
    assert branch.shared[1] == Need(free_slots=0, simulators=frozenset("a"))
    branch.leasing.end(lease)
    branch.leasing.look()
    assert branch.shared[1] == Need(free_slots=4)


def test_a_learner_that_does_not_serve_yet_lets_its_simulators_help_another_to_begin() -> None:
    shared = {1: Need(free_slots=4)}
    table = LeaseTable([range(4)], expected=1, max_lease_slots=4)
    slots = Slots(SPACES, num_slots=4, groups=1, deterministic=True)
    desk = Desk()
    hub = Hub(NeedsInMemory(rank=0, shared=shared), 2, lambda: desk.now)
    leasing = Leasing(slots, table, Counts(), homing=hub)
    only = leasing.offer("a", 1, lambda: None)
    leasing.look()
    assert shared[0] == Need(free_slots=0, simulators=frozenset("a"))
    desk.now = 3.0
    leasing.look()
    with pytest.raises(SentElsewhereError, match="rank 1"):
        leasing.wait_lease(only, 0.0)


def test_a_guest_that_waits_in_vain_is_sent_back_to_rank_0() -> None:
    branch = Branch(rank=1)
    branch.offer("a")
    spare, guest = branch.offer("a"), branch.offer("g", guest=True)
    branch.leasing.look()
    assert branch.sent_to(guest) == Place(rank=0)
    assert branch.leasing.wait_lease(spare, 0.0) is None


def test_while_another_learner_is_in_need_one_spare_stream_a_second_goes_back_to_rank_0() -> None:
    branch = Branch(rank=1)
    branch.offer("a")
    first, second = branch.offer("a"), branch.offer("a")
    branch.shared[0] = Need(free_slots=1)
    for branch.now in (0.0, 3.0, 3.75):
        branch.leasing.look()
    assert branch.sent_to(first) == Place(rank=0)
    assert branch.leasing.wait_lease(second, 0.0) is None
    branch.now = 4.0
    branch.leasing.look()
    assert branch.sent_to(second) == Place(rank=0)
