"""Prioritised sampling (Schaul et al. 2016): frequencies, weights, and what a changed priority does."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stepstream_trainer.replay import Replay
from stepstream_trainer.replay.invariants import violations
from tests.support.replays import Fate, Pair, layout_of, options_of

ALPHA = 0.6
DRAWS = 100_000


def filled(steps: int = 25) -> Replay:
    """Four slots of 30 rows; 100 steps of equal priority."""
    pair = Pair(options_of(rows=30, slots=4, prioritized=True), layout_of((3,)))
    for _ in range(steps):
        pair.append([Fate.GO_ON] * 4)
    return pair.replay


def every_index(replay: Replay) -> NDArray[np.int64]:
    return np.unique(replay.sample(2 * len(replay), draw_number=0).index_N)


def frequencies(replay: Replay, batch_size: int) -> dict[int, int]:
    """How often each step is drawn, over DRAWS draws in batches."""
    drawn = [replay.sample(batch_size, number).index_N for number in range(DRAWS // batch_size)]
    index, count = np.unique(np.concatenate(drawn), return_counts=True)
    return dict(zip(index.tolist(), count.tolist(), strict=True))


@pytest.mark.parametrize("batch_size", [20, 500, DRAWS])
def test_steps_are_drawn_in_proportion_to_their_priorities_power(batch_size: int) -> None:
    replay = filled()
    index, priority = every_index(replay), np.random.default_rng(0).exponential(size=100)
    replay.update_priorities(index, priority)
    counts = frequencies(replay, batch_size)
    share = priority**ALPHA / (priority**ALPHA).sum()
    for step, expected in zip(index.tolist(), share * DRAWS, strict=True):
        assert abs(counts.get(step, 0) - expected) < 5 * np.sqrt(expected) + 1


def test_a_batch_takes_one_sample_of_each_stratum() -> None:
    replay = filled()
    index = np.sort(replay.sample(100, draw_number=3).index_N)
    assert len(np.unique(index)) > 80, "independent draws of 100 out of 100 would hit about 63 steps"


def test_a_changed_priority_is_seen_by_the_next_draw() -> None:
    replay = filled()
    index = every_index(replay)
    replay.update_priorities(index[:1], np.array([1e9]))
    drawn = replay.sample(1000, draw_number=1).index_N
    assert np.mean(drawn == index[0]) > 0.99


def test_where_a_step_comes_twice_its_later_priority_counts() -> None:
    replay = filled()
    index = every_index(replay)[[0, 1, 0]]
    replay.update_priorities(index, np.array([1e9, 1.0, 1e-9]))
    assert index[0] not in replay.sample(1000, draw_number=1).index_N


def test_a_step_without_error_can_still_be_drawn() -> None:
    replay = filled()
    replay.update_priorities(every_index(replay), np.zeros(100))
    assert len(every_index(replay)) == 100
    assert violations(replay) == []


def test_new_steps_get_the_largest_priority_so_far() -> None:
    pair = Pair(options_of(rows=30, slots=1, prioritized=True), layout_of((3,)))
    for _ in range(10):
        pair.append([Fate.GO_ON])
    pair.replay.update_priorities(np.arange(10), np.array([*[1e-6] * 9, 8.0]))
    pair.append([Fate.GO_ON])
    counts = frequencies(pair.replay, 100)
    assert counts[10] == pytest.approx(DRAWS / 2, rel=0.02)


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0])
def test_weights_undo_the_unequal_chances_and_are_at_most_one(exponent: float) -> None:
    replay = filled()
    index, priority = every_index(replay), np.random.default_rng(0).exponential(size=100)
    replay.update_priorities(index, priority)
    drawn = replay.sample(64, draw_number=2, importance_exponent=exponent)
    chance = dict(zip(index.tolist(), priority**ALPHA / (priority**ALPHA).sum(), strict=True))
    weight = np.array([(100 * chance[step]) ** -exponent for step in drawn.index_N.tolist()])
    np.testing.assert_allclose(drawn.weight_N.numpy(), weight / weight.max(), rtol=1e-5)
    assert drawn.weight_N.dtype is torch.float32


@pytest.mark.parametrize("priority", [float("nan"), float("inf")])
def test_a_priority_that_is_no_number_is_our_mistake(priority: float) -> None:
    replay = filled()
    with pytest.raises(AssertionError):
        replay.update_priorities(np.array([0]), np.array([priority]))
