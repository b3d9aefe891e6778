"""What a simulator says of itself: ready while a learner accepts it, unhealthy only where its threads hang."""

from dataclasses import dataclass

import pytest

from stepstream_trainer.channel import ROWS_SECONDS, SILENCE_SECONDS
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.simulator.standing import STUCK_SECONDS, Standing


@dataclass(eq=False)
class Stream:
    """One that has waited for so long."""

    was_accepted: bool = True
    waits: float = 0.0

    def waits_seconds(self) -> float:
        return self.waits


class Desk:
    """A simulator's standing, and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.registry = new_registry()
        self.standing: Standing[Stream] = Standing("pong-3", SimulatorMetrics(self.registry), clock=lambda: self.now)

    def offer(self, stream: Stream) -> Stream:
        self.standing.offered(stream)
        return stream

    def serve(self, slots: int) -> Stream:
        """A lease whose rows have been answered, and that steps."""
        stream = self.offer(Stream())
        self.standing.stepping(stream)
        self.standing.stepped(stream)
        self.standing.exchanged(stream, slots)
        self.standing.stepping(stream)
        return stream

    @property
    def slots(self) -> float | None:
        return self.registry.get_sample_value("stepstream_simulator_slots")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_status_says_who_serves_how_many_slots_and_when_a_learner_last_answered(desk: Desk) -> None:
    desk.serve(8)
    desk.now += 3.0
    desk.serve(4)
    desk.offer(Stream())
    desk.now += 1.5
    assert desk.standing.status() == {
        "simulator": "pong-3",
        "accepted": True,
        "leases": [8, 4],
        "secondsSinceExchange": 1.5,
    }
    assert desk.slots == 12


def test_before_there_is_a_learner_the_status_says_that_there_is_none(desk: Desk) -> None:
    desk.offer(Stream(was_accepted=False))
    assert desk.standing.status() == {
        "simulator": "pong-3",
        "accepted": False,
        "leases": [],
        "secondsSinceExchange": None,
    }


def test_a_lease_that_ended_serves_no_slots(desk: Desk) -> None:
    desk.standing.left(desk.serve(8))
    assert desk.standing.status()["leases"] == []
    assert desk.slots == 0


def test_a_simulator_is_ready_while_a_learner_accepts_a_stream_of_it(desk: Desk) -> None:
    assert desk.standing.ready() == "no learner accepts this simulator's streams"
    spare = desk.offer(Stream(was_accepted=False))
    assert desk.standing.ready() is not None
    spare.was_accepted = True
    assert desk.standing.ready() is None
    desk.standing.left(spare)
    assert desk.standing.ready() is not None


def test_a_simulator_that_waits_for_a_learner_stays_healthy(desk: Desk) -> None:
    for _ in range(100):
        attempt = desk.offer(Stream(was_accepted=False, waits=SILENCE_SECONDS))
        assert desk.standing.healthy() is None
        desk.standing.left(attempt)
        desk.now += 1000.0
        assert desk.standing.healthy() is None


def test_a_lease_that_waits_for_a_slow_learner_stays_healthy(desk: Desk) -> None:
    desk.standing.stepped(desk.serve(8))
    desk.now += 1000 * ROWS_SECONDS
    assert desk.standing.healthy() is None


def test_silent_streams_are_the_watchdogs_and_one_that_it_could_not_end_makes_unhealthy(desk: Desk) -> None:
    stream = desk.offer(Stream(waits=SILENCE_SECONDS))
    assert desk.standing.silent() == []
    stream.waits += 1.0
    assert desk.standing.silent() == [stream]
    assert desk.standing.healthy() is None
    stream.waits = STUCK_SECONDS + 1.0
    assert desk.standing.healthy() == "a stream has waited 61 s for a learner that says nothing"


def test_environments_that_hang_make_unhealthy_once_the_learner_has_given_them_up(desk: Desk) -> None:
    desk.serve(8)
    desk.now += ROWS_SECONDS
    assert desk.standing.healthy() is None
    desk.now += 2.0
    assert desk.standing.healthy() == "a lease's environments should have stepped 2 s ago"


def test_a_long_episode_gets_its_time_to_be_made_again(desk: Desk) -> None:
    desk.standing.stepping(desk.offer(Stream()), replayed=2000)
    desk.now += ROWS_SECONDS + 99.0
    assert desk.standing.healthy() is None
    desk.now += 2.0
    assert desk.standing.healthy() is not None
