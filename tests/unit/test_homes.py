"""Which learner a simulator serves: rules as sentences, and worlds in which simulators come and go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.learner.homes import (
    FORGET_SECONDS,
    PATIENCE_SECONDS,
    Homes,
    Need,
    Place,
    expected_at,
)
from tests.support.learners import World


def needs(*free_slots: int, at: dict[int, str] | None = None) -> dict[int, Need]:
    """Of all ranks; `at` names the simulators, a letter each, that have streams at a rank."""
    there = at or {}
    return {
        rank: Need(free_slots=free, simulators=frozenset(there.get(rank, ""))) for rank, free in enumerate(free_slots)
    }


def homes_of(*names: str, learners: int = 2) -> Homes:
    """Simulators that came one after the other."""
    homes = Homes(learners=learners)
    for name in names:
        homes.place(name, 0.0)
    return homes


def test_simulators_are_at_home_where_fewest_are() -> None:
    homes = Homes(learners=3)
    assert [homes.place(name, 0.0).rank for name in "abcdefg"] == [0, 1, 2, 0, 1, 2, 0]


def test_an_offer_goes_home_also_while_nothing_is_needed_there() -> None:
    homes = homes_of("a", "b")
    homes.stand(needs(0, 0), 1.0)
    assert homes.place("b", 2.0) == Place(rank=1, guest=False)


def test_whoever_is_needed_at_home_helps_nobody() -> None:
    homes = homes_of("a", "b")
    homes.stand(needs(8, 1), 0.0)
    assert homes.place("b", 100.0) == Place(rank=1)
    assert homes.moves({7: "a"}, 100.0) == {}


def test_a_simulator_that_is_not_needed_at_home_helps_where_slots_have_been_free_for_long() -> None:
    homes = homes_of("a")
    homes.stand(needs(0, 8), 0.0)
    assert homes.place("a", PATIENCE_SECONDS - 0.1) == Place(rank=0)
    assert homes.place("a", PATIENCE_SECONDS) == Place(rank=1, guest=True)


def test_a_need_that_was_met_in_between_is_a_new_one() -> None:
    homes = homes_of("a")
    homes.stand(needs(0, 8), 0.0)
    homes.stand(needs(0, 0), 2.0)
    homes.stand(needs(0, 8), 2.5)
    assert homes.place("a", PATIENCE_SECONDS + 2.0) == Place(rank=0)


def test_one_offer_at_a_time_goes_to_a_learner_in_need() -> None:
    homes = homes_of("a")
    homes.stand(needs(0, 8), 0.0)
    assert homes.moves({5: "a", 6: "c"}, 3.0) == {5: Place(rank=1, guest=True)}
    assert homes.moves({6: "c"}, 3.5) == {}
    homes.stand(needs(0, 4), 4.0)
    assert homes.moves({6: "c"}, 4.0) == {6: Place(rank=1, guest=True)}


def test_help_that_did_not_help_is_followed_by_more() -> None:
    homes = homes_of("a")
    homes.stand(needs(0, 8), 0.0)
    homes.moves({5: "a"}, 3.0)
    homes.stand(needs(0, 8), 5.9)
    assert homes.moves({6: "a"}, 5.9) == {}
    assert homes.moves({6: "a"}, 6.0) == {6: Place(rank=1, guest=True)}


def test_learners_in_need_are_helped_side_by_side_by_those_who_helped_least_lately() -> None:
    homes = homes_of("a", learners=3)
    homes.stand(needs(0, 8, 8), 0.0)
    homes.place("c", 0.0)  # at home elsewhere, which does not keep it from waiting here
    assert homes.place("a", 3.0) == Place(rank=1, guest=True)
    moves = homes.moves({8: "a", 9: "d"}, 3.0)
    assert moves == {9: Place(rank=2, guest=True)}


def test_a_guest_whose_offer_waits_in_vain_goes_home() -> None:
    homes = homes_of("a", "b")
    homes.stand(needs(0, 0), 0.0)
    assert homes.moves({3: "a", 4: "b"}, 0.0) == {4: Place(rank=1)}


def test_the_successor_of_a_lost_simulator_takes_its_home_whatever_it_is_called() -> None:
    homes = homes_of("a", "b", "c", "d")
    homes.stand(needs(0, 0, at={0: "ac", 1: "bd"}), 1.0)
    homes.stand(needs(0, 0, at={0: "ac", 1: "b"}), 2.0)
    assert homes.place("e", 2.5) == Place(rank=1)


def test_the_successor_of_a_lost_simulator_takes_its_home_before_word_of_the_loss_has_come() -> None:
    homes = homes_of("a", "b")
    homes.stand(needs(0, 8, at={0: "a", 1: "b"}), 1.0)
    assert homes.place("e", 1.5) == Place(rank=1)


@pytest.mark.parametrize(("seconds", "home"), [(FORGET_SECONDS - 1.0, 0), (FORGET_SECONDS + 1.0, 1)])
def test_a_lost_simulator_comes_home_unless_it_was_away_for_long(seconds: float, home: int) -> None:
    homes = homes_of("a", "b", "c")
    homes.stand(needs(0, 0, at={0: "ac", 1: "b"}), 1.0)
    homes.stand(needs(0, 0, at={0: "c", 1: "b"}), 1.0 + seconds)
    homes.place("d", 1.0 + seconds)  # takes the place at rank 0
    homes.stand(needs(0, 0, at={0: "cd", 1: "b"}), 1.0 + seconds)
    assert homes.place("a", 1.0 + seconds) == Place(rank=home)


def test_a_simulator_that_was_sent_somewhere_and_never_came_does_not_count() -> None:
    homes = homes_of("a", "b")
    assert homes.counts(1.0) == [1, 1]
    homes.stand(needs(0, 8, at={0: "a"}), 10.0)
    assert homes.counts(10.0) == [1, 0]


@pytest.mark.parametrize(
    ("simulators", "learners", "expected"), [(8, 2, [4, 4]), (5, 2, [3, 2]), (1, 3, [1, 1, 1]), (7, 1, [7])]
)
def test_learners_expect_what_will_be_at_home_with_them(simulators: int, learners: int, expected: list[int]) -> None:
    assert [expected_at(rank, simulators=simulators, learners=learners) for rank in range(learners)] == expected


NAMES = "abcde"
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.sampled_from(NAMES)),
        st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 7.0])),
    ),
    max_size=30,
)


def at_rest(events: list[tuple[str, object]], learners: int, last: str) -> World:
    """After these events, with `last` there where nobody else is."""
    world = played(events, learners)
    if not world.alive:
        world.join(last)
    world.wait(30.0)
    return world


@given(events=EVENTS, learners=st.integers(1, 3), last=st.sampled_from(NAMES))
def test_as_long_as_one_simulator_is_there_every_slot_of_every_learner_is_served_in_the_end(
    events: list[tuple[str, object]], learners: int, last: str
) -> None:
    world = at_rest(events, learners, last)
    assert [world.free_slots(rank) for rank in range(learners)] == [0] * learners


@given(events=EVENTS, learners=st.integers(2, 3), last=st.sampled_from(NAMES))
def test_guests_give_way_to_whoever_is_at_home_and_offers_come_to_rest(
    events: list[tuple[str, object]], learners: int, last: str
) -> None:
    world = at_rest(events, learners, last)
    for rank, table in enumerate(world.tables):
        at_home = table.at_home
        assert not at_home or set(world.served_by(rank)) <= at_home
    before = world.redirects
    world.wait(30.0)
    assert world.redirects == before


def played(events: list[tuple[str, object]], learners: int) -> World:
    """Simulators come, those that are there are lost, and time passes."""
    world = World(learners=learners, simulators=3)
    for kind, what in events:
        if kind == "wait":
            assert isinstance(what, float)
            world.wait(what)
        else:
            assert isinstance(what, str)
            (world.lose if what in world.alive else world.join)(what)
    return world


def test_a_lost_simulators_slots_are_served_by_others_until_its_successor_has_them_all_again() -> None:
    world = World(learners=2, simulators=2)
    world.join("a")
    world.join("b")
    assert (world.served_by(0), world.served_by(1)) == ({"a": 4}, {"b": 4})
    world.lose("b")
    world.wait(10.0)
    assert (world.served_by(0), world.served_by(1)) == ({"a": 4}, {"a": 4})
    world.join("c")
    world.wait(5.0)
    assert (world.served_by(0), world.served_by(1)) == ({"a": 4}, {"c": 4})


def test_one_simulator_serves_all_learners() -> None:
    world = World(learners=3, simulators=1)
    world.join("a")
    world.wait(10.0)
    assert [world.served_by(rank) for rank in range(3)] == [{"a": 4}] * 3
