"""How long simulators wait between attempts to reach a learner."""

import random

import pytest

from stepstream_trainer.simulator.backoff import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Backoff


class Chance(random.Random):
    """Always as far into what is asked for as `share` says."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def random(self) -> float:
        return self._share


def waits(backoff: Backoff, count: int = 12) -> list[float]:
    return [backoff.next_seconds() for _ in range(count)]


def test_waits_double_up_to_the_longest() -> None:
    longest = waits(Backoff(Chance(1.0)))
    doubled = [FIRST_RETRY_SECONDS * 2**attempt for attempt in range(12)]
    assert longest == pytest.approx([min(LAST_RETRY_SECONDS, seconds) for seconds in doubled])
    assert longest[0] < longest[-1] == LAST_RETRY_SECONDS


def test_chance_takes_up_to_half_of_a_wait() -> None:
    assert waits(Backoff(Chance(0.0))) == pytest.approx([seconds / 2 for seconds in waits(Backoff(Chance(1.0)))])


def test_two_simulators_do_not_come_back_together() -> None:
    one, other = (waits(Backoff(random.Random(seed))) for seed in (1, 2))
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_learner_that_was_found_makes_the_next_wait_short_again() -> None:
    backoff = Backoff(Chance(1.0))
    waits(backoff)
    backoff.begin_anew()
    assert backoff.next_seconds() == FIRST_RETRY_SECONDS
