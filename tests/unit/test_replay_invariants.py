"""The walk that looks for rows nobody may learn from finds each way in which a replay can be wrong."""

from collections.abc import Callable

import numpy as np
import pytest

from stepstream_trainer.replay import Replay
from stepstream_trainer.replay.invariants import violations
from stepstream_trainer.replay.ring import FIRST, STEPPED, TERMINAL
from tests.support.replays import Fate, Pair, layout_of, options_of


def played() -> Replay:
    """One slot of 20 rows, n = 2, depth 3; rows 5 to 24. Row 8 lost a life, 12 is a truncated episode's last frame,
    18 was lost."""
    pair = Pair(options_of(rows=20, n_step=2, prioritized=True), layout_of((8, 8), 3))
    special = {8: Fate.LOSE_LIFE, 11: Fate.TRUNCATE, 18: Fate.BE_LOST}
    while (row := int(pair.replay.ring.newest_B[0])) < 24:
        pair.append([special.get(row, Fate.GO_ON)])
    return pair.replay


def flags(row: int, *, put: int = 0, clear: int = 0) -> Callable[[Replay], None]:
    def change(replay: Replay) -> None:
        replay.ring.flags[row % 20] = (int(replay.ring.flags[row % 20]) | put) & ~clear

    return change


def older(row: int, number: int) -> Callable[[Replay], None]:
    def change(replay: Replay) -> None:
        replay.ring.older[row % 20] = number

    return change


def bounds(low: int, high: int) -> Callable[[Replay], None]:
    def change(replay: Replay) -> None:
        replay.ring.low_B[0] += low
        replay.ring.high_B[0] += high

    return change


def leaf(row: int, value: float) -> Callable[[Replay], None]:
    return lambda replay: replay.tree.set(np.array([row % 20]), value) if replay.tree else None


def stale_node(replay: Replay) -> None:
    assert replay.tree is not None
    replay.tree.leaves[9] += 1.0


def miscount(replay: Replay) -> None:
    replay.ring.size += 1


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (flags(24, put=STEPPED), "the newest row has an outcome"),
        (flags(12, put=TERMINAL), "a row without an outcome ends a return"),
        (flags(13, clear=FIRST), "an episode goes on after a row that nothing is known to have left"),
        (flags(15, clear=STEPPED), "an episode goes on after a row that nothing is known to have left"),
        (flags(12, put=STEPPED), "an episode begins though the one before it had not ended"),
        (flags(16, put=FIRST), "an episode begins though the one before it had not ended"),
        (older(14, 2), "a stack has more or fewer frames than its episode"),
        (older(7, 0), "a stack has more or fewer frames than its episode"),
        (bounds(-1, 0), "a step that can be sampled has lost a frame of its stack"),
        (bounds(0, 1), "a return that can be sampled is not complete"),
        (bounds(1, 0), "a complete step with its whole stack cannot be sampled"),
        (bounds(0, -1), "a complete step with its whole stack cannot be sampled"),
        (leaf(15, 0.0), "a step that can be sampled has no priority, or another row has one"),
        (leaf(12, 1.0), "a step that can be sampled has no priority, or another row has one"),
        (stale_node, "a node of the sum tree is not the sum of its children"),
        (miscount, "can be sampled, "),
    ],
)
def test_each_kind_of_damage_is_found_and_named(damage: Callable[[Replay], None], sentence: str) -> None:
    replay = played()
    assert violations(replay) == []
    damage(replay)
    assert any(sentence in found for found in violations(replay))
