"""Steps ahead of the loop: in order, no further ahead than there is memory, and nothing lost at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from stepstream_trainer.learner.experience import Experience, Gathered, Position
from stepstream_trainer.learner.gathering import Interrupted, Pause
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase
from stepstream_trainer.learner.sampling import Ahead, Direct, Steps
from stepstream_trainer.metrics import new_registry

WAIT_SECONDS = 20.0
SLOT_STEPS, ALL = 5, 20


@dataclass
class Scripted:
    """An experience of numbered iterations. `meanwhile` is called in the midst of each, with its number and pause."""

    memories: int = 2
    slot_steps: int = SLOT_STEPS
    meanwhile: Callable[[int, Pause], None] = lambda number, pause: None
    positions: list[Position] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def collect(self, position: Position, pause: Pause) -> Gathered[int]:
        number = len(self.positions)
        self.positions.append(replace(position))
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        self.meanwhile(number, pause)
        return Gathered(memory=number, progress={})


def steps_of(experience: Scripted, metrics: LearnerMetrics, position: Position | None = None) -> Steps:
    return Steps(cast("Experience[Any]", experience), metrics, position or Position(), steps_of_all=ALL)


def go_on() -> None:
    pass


@pytest.fixture
def metrics() -> LearnerMetrics:
    return LearnerMetrics(new_registry(), frame_skip=1)


@pytest.fixture
def ahead_of(metrics: LearnerMetrics) -> Iterator[Callable[[Scripted], Ahead]]:
    """Makes the sampler of an experience; ended with the test."""
    made: list[Ahead] = []

    def make(experience: Scripted) -> Ahead:
        made.append(Ahead(steps_of(experience, metrics), metrics, pause=go_on, stopping=lambda: False))
        return made[-1]

    yield make
    for each in made:
        each.close()


def rest_of(ahead: Ahead) -> list[int]:
    given = []
    while not ahead.over:
        given.append(memory_of(ahead.next()))
        ahead.learned()
    return given


def memory_of(gathered: Gathered[Any]) -> int:
    return int(gathered.memory)


def test_where_learners_step_apart_the_jobs_steps_are_those_that_all_have_made(metrics: LearnerMetrics) -> None:
    experience, position = Scripted(memories=1), Position(steps=100)
    steps = Steps(cast("Experience[Any]", experience), metrics, position, steps_of_all=ALL, apart=True)
    steps.collect(go_on)
    position.steps = 107
    steps.collect(go_on)
    assert experience.positions == [Position(steps=100), Position(steps=107, slot_steps=SLOT_STEPS)]


def test_directly_steps_are_collected_where_they_are_asked_for(metrics: LearnerMetrics) -> None:
    experience = Scripted(memories=1)
    direct = Direct(steps_of(experience, metrics, Position(steps=100, slot_steps=25)), go_on)
    assert [memory_of(direct.next()) for _ in range(2)] == [0, 1]
    assert experience.positions == [Position(steps=100, slot_steps=25), Position(steps=120, slot_steps=30)]
    assert experience.threads == {threading.current_thread().name}
    assert not direct.over
    direct.finish()
    assert direct.over


def test_ahead_the_next_steps_are_collected_while_these_are_learned_from(
    ahead_of: Callable[[Scripted], Ahead],
) -> None:
    experience = Scripted()
    ahead = ahead_of(experience)
    for number in range(4):
        assert memory_of(ahead.next()) == number
        for _ in range(1 if number else 2):  # the one that is being learned from, and the next
            assert experience.begun.acquire(timeout=WAIT_SECONDS)
        ahead.learned()
    assert experience.threads == {"sampler"}
    assert experience.positions[:4] == [Position(steps=ALL * n, slot_steps=SLOT_STEPS * n) for n in range(4)]


def test_no_more_is_collected_than_there_is_memory_for(ahead_of: Callable[[Scripted], Ahead]) -> None:
    experience = Scripted()
    ahead = ahead_of(experience)
    for _ in range(2):
        assert experience.begun.acquire(timeout=WAIT_SECONDS)
    assert not experience.begun.acquire(timeout=0.5), "both memories are taken"
    assert memory_of(ahead.next()) == 0
    assert not experience.begun.acquire(timeout=0.5), "the first is still learned from"
    ahead.learned()
    assert experience.begun.acquire(timeout=WAIT_SECONDS)


def test_when_it_is_to_finish_all_that_was_begun_is_given_and_then_nothing(
    ahead_of: Callable[[Scripted], Ahead],
) -> None:
    experience = Scripted()
    ahead = ahead_of(experience)
    for _ in range(2):
        assert experience.begun.acquire(timeout=WAIT_SECONDS)
    ahead.finish()
    assert rest_of(ahead) == [0, 1]
    assert len(experience.positions) == 2
    assert not experience.begun.acquire(timeout=0.5)


def test_which_iteration_is_the_last_does_not_hang_on_how_far_the_sampler_is(
    ahead_of: Callable[[Scripted], Ahead],
) -> None:
    """Learners in step must learn from as many."""
    goes_on = threading.Event()

    def dawdle(number: int, pause: Pause) -> None:
        if number == 1:
            assert goes_on.wait(WAIT_SECONDS)

    slow, fast = ahead_of(Scripted(meanwhile=dawdle)), ahead_of(Scripted())
    for ahead in (slow, fast):
        ahead.next()
        ahead.learned()
        ahead.finish()
        ahead.finish()
    goes_on.set()
    assert rest_of(slow) == rest_of(fast) == [1, 2]


def test_what_ends_the_sampler_is_raised_where_the_loop_waits(ahead_of: Callable[[Scripted], Ahead]) -> None:
    def fail(number: int, pause: Pause) -> None:
        if number == 1:
            raise ValueError("in the sampler")

    ahead = ahead_of(Scripted(meanwhile=fail))
    assert memory_of(ahead.next()) == 0
    with pytest.raises(ValueError, match="in the sampler"):
        ahead.next()


def test_closing_breaks_off_what_waits_for_simulators(ahead_of: Callable[[Scripted], Ahead]) -> None:
    broken_off = threading.Event()

    def wait_for_ever(number: int, pause: Pause) -> None:
        try:
            while True:
                pause()
                threading.Event().wait(0.01)
        except Interrupted:
            broken_off.set()
            raise

    experience = Scripted(meanwhile=wait_for_ever)
    ahead = ahead_of(experience)
    assert experience.begun.acquire(timeout=WAIT_SECONDS)
    ahead.close()
    assert broken_off.is_set()


def test_a_learner_that_is_to_stop_stops_its_sampler_and_whoever_waits_for_it(metrics: LearnerMetrics) -> None:
    stop, experience = threading.Event(), Scripted()

    def pause() -> None:
        if stop.is_set():
            raise Interrupted

    ahead = Ahead(steps_of(experience, metrics), metrics, pause=pause, stopping=stop.is_set)
    for number in range(2):
        assert memory_of(ahead.next()) == number
    stop.set()
    with pytest.raises(Interrupted):
        ahead.next()
    ahead.close()


class Polls:
    """Called by a thread that waits, every POLL_SECONDS, to ask whether it should go on."""

    def __init__(self) -> None:
        self._calls = threading.Semaphore(0)

    def __call__(self) -> bool:
        self._calls.release()
        return False

    def wait_for(self, more: int) -> None:
        """So many from now on: at least (more - 1) x POLL_SECONDS."""
        while self._calls.acquire(blocking=False):
            pass
        for _ in range(more):
            assert self._calls.acquire(timeout=WAIT_SECONDS)


def test_time_spent_waiting_for_each_other_is_accounted_to_who_waits(metrics: LearnerMetrics) -> None:
    loop, sampler = Polls(), Polls()

    def dawdle(number: int, pause: Pause) -> None:
        if number == 0:
            loop.wait_for(3)

    ahead = Ahead(steps_of(Scripted(meanwhile=dawdle), metrics), metrics, pause=loop, stopping=sampler)
    memory_of(ahead.next())
    assert metrics.totals.phase_seconds[LoopPhase.IDLE] > 0.3
    sampler.wait_for(3)  # both memories are taken all the while
    ahead.learned()
    memory_of(ahead.next())
    ahead.learned()
    memory_of(ahead.next())
    assert metrics.totals.phase_seconds[LoopPhase.HOLD] > 0.3
    assert metrics.totals.phase_seconds[LoopPhase.OTHER] > 0.3, "what an iteration took besides its phases"
    ahead.close()
