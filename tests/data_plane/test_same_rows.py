"""What the loop sees is a function of the job and its actions: of no arrival order, crash, or number of simulators."""

from typing import Any

import pytest

from stepstream_trainer.rows import ENDED, START, TRUNCATED
from tests.support.data_plane import CARTPOLE, PONG, SeenRow, config_of, data_plane

STEPS = 90
ENVIRONMENTS = [pytest.param(CARTPOLE, id="CartPole"), pytest.param(PONG, id="Pong")]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def undisturbed(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[list[SeenRow]]]:
    """An environment, and the rows that one simulator gives in peace."""
    with data_plane(config_of(request.param), "only") as plane:
        return request.param, plane.learner.play(STEPS)


def test_four_simulators_give_the_rows_of_one(undisturbed: tuple[dict[str, Any], list[list[SeenRow]]]) -> None:
    environment, rows = undisturbed
    with data_plane(config_of(environment, simulators=4), *"abcd") as plane:
        assert plane.learner.play(STEPS) == rows


def test_simulators_killed_on_the_way_change_nothing(
    undisturbed: tuple[dict[str, Any], list[list[SeenRow]]],
) -> None:
    environment, rows = undisturbed
    with data_plane(config_of(environment, simulators=2), *"ab") as plane:
        seen: list[list[SeenRow]] = [[] for _ in rows]
        for name in "abab":
            for slot, more in enumerate(plane.learner.play(STEPS // 5)):
                seen[slot] += more
            plane.simulators.kill(name)
            plane.simulators.start(name)
        for slot, more in enumerate(plane.learner.play(STEPS - 4 * (STEPS // 5))):
            seen[slot] += more
        assert seen == rows
        assert plane.learner.counts.replayed_steps > 0
        assert plane.learner.counts.differing == 0


def test_episodes_end_on_the_way(undisturbed: tuple[dict[str, Any], list[list[SeenRow]]]) -> None:
    _, rows = undisturbed
    assert all(any(row.flags & ENDED for row in slot) for slot in rows)
    assert not any(row.flags & START for slot in rows for row in slot)


def test_truncated_rows_carry_the_last_observation_and_the_next_first_one(
    undisturbed: tuple[dict[str, Any], list[list[SeenRow]]],
) -> None:
    _, rows = undisturbed
    truncated = [row for slot in rows for row in slot if row.flags & TRUNCATED]
    assert all(row.final_observation and row.final_observation != row.observation for row in truncated)
