"""A measurement that the host disturbed is made again, and the quietest one counts."""

from pathlib import Path

import pytest

from benchmarks.quiet import ATTEMPTS, Attempt, quietest, stolen_seconds


def attempt(stolen_each: list[float]) -> tuple[Attempt[int], int]:
    """Ten seconds each on two cores, of which the host takes as many seconds; also how often was measured."""
    taken, now, made = [0.0], [0.0], [0]

    def measure() -> int:
        taken[0] += stolen_each[made[0]]
        now[0] += 10.0
        made[0] += 1
        return made[0]

    return quietest(measure, stolen=lambda: taken[0], clock=lambda: now[0], cores=2), made[0]


def test_a_quiet_measurement_is_not_repeated() -> None:
    found, made = attempt([0.4])
    assert (found.found, made) == (1, 1)
    assert found.stolen == pytest.approx(0.02)


def test_a_disturbed_one_is_repeated_until_it_is_quiet() -> None:
    found, made = attempt([8.0, 4.0, 0.0, 0.0])
    assert (found.found, made) == (3, 3)


def test_where_it_never_is_the_least_disturbed_one_counts() -> None:
    found, made = attempt([8.0, 2.0, 4.0, 6.0, 0.0])
    assert (found.found, made) == (2, ATTEMPTS)
    assert found.stolen == pytest.approx(0.1)


def test_what_the_system_does_not_tell_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 250 0 0\ncpu0 1 2\n")
    assert stolen_seconds(tmp_path / "stat") == 2.5
    assert stolen_seconds(tmp_path / "none") == 0.0
    (tmp_path / "short").write_text("cpu 1 2\n")
    assert stolen_seconds(tmp_path / "short") == 0.0
