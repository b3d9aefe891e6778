"""Auto: measured in turns on the live job, decided with a reason, and decided again when there is cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.modes import (
    CHANGED_SECONDS,
    WINDOW_SECONDS,
    WINDOWS,
    Chosen,
    Decision,
    Fixed,
    Iteration,
    decide,
)

STEPS = 100


@dataclass
class Job:
    """A job that iterates as fast as its mode lets it. `rates` are steps a second, by mode."""

    rates: dict[Mode, float]
    policy_lag: float | None = 0.9
    max_policy_lag: int = 16
    simulators: int = 4
    now: float = 0.0
    ran: list[tuple[Mode, bool]] = field(default_factory=list)
    told: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.modes = Chosen(max_policy_lag=self.max_policy_lag, told=self.told.append, clock=lambda: self.now)

    def iterate(self, *, learning: bool = True, slowly: float = 0.0) -> None:
        mode = self.modes.mode
        self.ran.append((mode, self.modes.calibrating))
        self.now += STEPS / self.rates[mode] + slowly
        lag = None if self.policy_lag is None else self.policy_lag * (mode is Mode.Async)
        made = Iteration(mode=mode, steps=STEPS, policy_lag=lag, learning=learning, simulators=self.simulators)
        self.modes.iterated(lambda: made)

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(100_000):
            if holds():
                return
            self.iterate()
        raise AssertionError("it never did")

    def decide(self) -> Decision:
        decisions = len(self.told)
        self.until(lambda: len(self.told) > decisions)
        return self.told[-1]


def rates(sync: float, ahead: float) -> dict[Mode, float]:
    return {Mode.Sync: sync, Mode.Async: ahead}


SITUATIONS = {
    "learner and simulators overlap": (rates(1000, 1500), 0.9, Mode.Async),
    "simulators slowed: sampling is all": (rates(100, 104), 0.5, Mode.Sync),
    "learner slowed: learning is all": (rates(200, 203), 1.0, Mode.Sync),
    "half and half": (rates(500, 950), 1.0, Mode.Async),
    "a straggler that both wait for": (rates(300, 330), 0.9, Mode.Async),
    "a tiny network: threads cost more than they bring": (rates(9000, 7000), 0.2, Mode.Sync),
    "a large network": (rates(40, 70), 1.0, Mode.Async),
    "shared cores: nothing to gain": (rates(1200, 1190), 0.8, Mode.Sync),
    "faster, but by policies that are far too old": (rates(100, 500), 40.0, Mode.Sync),
    "from a replay": (rates(280, 400), None, Mode.Async),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_faster_mode_is_chosen_where_its_policies_are_not_too_old(situation: str) -> None:
    made, lag, expected = SITUATIONS[situation]
    job = Job(made, policy_lag=lag)
    decision = job.decide()
    assert decision.selected is expected
    assert job.modes.mode is expected
    assert not job.modes.calibrating
    assert decision.sync_steps_per_second == pytest.approx(made[Mode.Sync])
    assert decision.async_steps_per_second == pytest.approx(made[Mode.Async])
    assert decision.policy_lag == pytest.approx(lag)
    assert f"Async made {made[Mode.Async]:,.0f} steps/s, Sync {made[Mode.Sync]:,.0f}" in decision.reason


def test_each_mode_is_measured_twice_in_turn_for_long_enough() -> None:
    job = Job(rates(1000, 1500))
    job.decide()
    windows = [mode for mode, calibrating in job.ran if calibrating]
    turns = [mode for mode, before in zip(windows, [None, *windows], strict=False) if mode is not before]
    assert turns == list(WINDOWS)
    assert job.now >= len(WINDOWS) * WINDOW_SECONDS


def test_long_iterations_make_long_windows() -> None:
    job = Job(rates(5, 6))  # an iteration takes 20 s
    job.decide()
    assert len([mode for mode, calibrating in job.ran if calibrating]) >= 4 * len(WINDOWS)


def test_what_a_switch_costs_does_not_count() -> None:
    job = Job(rates(1000, 1200))
    before = job.modes.mode
    while not job.told:
        mode = job.modes.mode
        job.iterate(slowly=30.0 if mode is not before else 0.0)
        before = mode
    assert job.told[0].async_steps_per_second == pytest.approx(1200)
    assert job.told[0].selected is Mode.Async


def test_what_is_still_learned_from_in_the_mode_before_does_not_count() -> None:
    job, behind = Job(rates(1000, 1200)), [Mode.Sync] * 3
    while not job.told:
        behind.append(job.modes.mode)
        mode = behind.pop(0)
        job.now += STEPS / job.rates[mode]
        made = Iteration(mode=mode, steps=STEPS, policy_lag=0.5, learning=True, simulators=4)
        job.modes.iterated(lambda made=made: made)  # type: ignore[misc]
    assert job.told[0].sync_steps_per_second == pytest.approx(1000)
    assert job.told[0].async_steps_per_second == pytest.approx(1200)


def test_a_machine_that_slows_down_slows_both() -> None:
    job = Job(rates(1000, 1000))
    while not job.told:
        job.rates = rates(1000 / (1 + job.now / 20), 1100 / (1 + job.now / 20))
        job.iterate()
    decision = job.told[0]
    assert decision.async_steps_per_second / decision.sync_steps_per_second > 1.0 / 1.25
    assert decision.async_steps_per_second / decision.sync_steps_per_second < 1.1


def test_nothing_is_measured_before_there_is_anything_to_learn() -> None:
    job = Job(rates(1000, 1500))
    for _ in range(1000):
        job.iterate(learning=False)
    assert job.ran == [(Mode.Sync, False)] * 1000
    job.iterate()
    assert job.modes.calibrating


def test_it_is_measured_again_when_the_number_of_simulators_has_been_another_for_a_while() -> None:
    job = Job(rates(1000, 1500))
    job.decide()
    job.simulators, job.rates = 16, rates(2000, 1700)
    changed_at = job.now
    job.until(lambda: job.modes.calibrating)
    assert job.now - changed_at >= CHANGED_SECONDS
    assert job.decide().selected is Mode.Sync


def test_a_number_of_simulators_that_only_fluctuates_changes_nothing() -> None:
    job = Job(rates(1000, 1500))
    job.decide()
    for _ in range(50):
        job.simulators = 3
        at = job.now
        job.until(lambda at=at: job.now - at > CHANGED_SECONDS / 2)  # type: ignore[misc]
        job.simulators = 4
        job.iterate()
    assert len(job.told) == 1
    assert not job.modes.calibrating


@pytest.mark.parametrize(
    ("before", "sync", "ahead", "selected"),
    [
        (None, 100, 104, Mode.Sync),
        (None, 100, 106, Mode.Async),
        (Mode.Sync, 100, 109, Mode.Sync),
        (Mode.Sync, 100, 111, Mode.Async),
        (Mode.Async, 100, 91, Mode.Async),
        (Mode.Async, 100, 89, Mode.Sync),
    ],
)
def test_a_choice_is_changed_only_for_a_clear_gain(
    before: Mode | None, sync: float, ahead: float, selected: Mode
) -> None:
    decision = decide(sync_rate=sync, async_rate=ahead, policy_lag=1.0, max_policy_lag=16, before=before)
    assert decision.selected is selected
    if before is selected:
        assert "stays" in decision.reason


def test_what_the_job_says_is_not_measured() -> None:
    modes = Fixed(Mode.Async)
    for _ in range(100):
        modes.iterated(lambda: Iteration(mode=Mode.Async, steps=1, policy_lag=0.0, learning=True, simulators=1))
    assert modes.mode is Mode.Async
    assert not modes.calibrating
