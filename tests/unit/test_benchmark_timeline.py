"""Rates are read from cycle end to cycle end, after the warm-up, and only when enough was seen."""

import pytest

from benchmarks.record import Table
from benchmarks.timeline import Sample, Window, long_enough, measured, parse, steps_per_second

WINDOW = Window(warm_up_seconds=10.0, seconds=20.0, warm_up_cycles=1, cycles=2)


def cycles(count: int, *, seconds: float, steps: int, begin: float = 100.0) -> list[Sample]:
    return [Sample(steps * number, begin + seconds * number) for number in range(count)]


def test_a_steady_program_has_its_rate() -> None:
    assert steps_per_second(cycles(10, seconds=5.0, steps=1000), WINDOW) == pytest.approx(200.0)


def test_what_happens_while_warming_up_does_not_count() -> None:
    slow_start = [Sample(0, 0.0), Sample(10, 60.0), *cycles(8, seconds=5.0, steps=1000, begin=65.0)]
    assert steps_per_second(slow_start, Window(warm_up_seconds=60.5, seconds=20.0)) == pytest.approx(200.0)


def test_at_least_one_cycle_is_left_out_however_long_it_took() -> None:
    assert measured(cycles(3, seconds=50.0, steps=1), WINDOW)[0].steps == 1


def test_a_window_is_full_when_both_its_time_and_its_cycles_are() -> None:
    assert not long_enough(cycles(6, seconds=5.0, steps=1), WINDOW)  # 15 s after the warm-up
    assert long_enough(cycles(7, seconds=5.0, steps=1), WINDOW)
    assert not long_enough(cycles(3, seconds=50.0, steps=1), WINDOW)  # a single cycle after the warm-up
    assert long_enough(cycles(4, seconds=50.0, steps=1), WINDOW)


def test_a_rate_of_fewer_than_two_cycles_is_refused() -> None:
    with pytest.raises(ValueError, match="only 1 cycles"):
        steps_per_second(cycles(2, seconds=50.0, steps=1), WINDOW)


def test_other_output_of_a_program_is_no_sample() -> None:
    assert parse("fps step: 500 epoch: 1/10") is None
    assert parse('{"steps": 80, "seconds": 1.5}\n') == Sample(80, 1.5)


def test_a_table_shows_numbers_as_a_person_reads_them() -> None:
    table = Table(title="Rates", header=("case", "steps/s", "ratio"), rows=[("PPO", 1234.5, 2.3456), ("A2C", None, 1)])
    assert table.markdown().splitlines()[-2:] == ["| PPO | 1,234 | 2.35 |", "| A2C | - | 1 |"]
