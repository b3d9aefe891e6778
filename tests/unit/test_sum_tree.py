"""The sum tree against a plain list of numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.replay.sum_tree import FAN_OUT, SumTree

leaf_counts = st.sampled_from([1, 2, FAN_OUT - 1, FAN_OUT, FAN_OUT + 1, 300, FAN_OUT**2 + 1, 5000])
hard_numbers = st.sampled_from([0.0, 1e-300, 1e-12, 0.1, 1 / 3, 1.0, 1e12])


@given(count=leaf_counts, seed=st.integers(0, 2**16), batches=st.integers(1, 5))
def test_it_holds_what_was_set_last_and_every_node_is_its_childrens_sum(count: int, seed: int, batches: int) -> None:
    random, tree, plain = np.random.default_rng(seed), SumTree(count), np.zeros(count)
    for _ in range(batches):
        index, value = random.integers(0, count, 40), random.integers(0, 9, 40).astype(np.float64)
        tree.set(index, value)
        for place, number in zip(index, value, strict=True):
            plain[place] = number
    np.testing.assert_array_equal(tree.leaves, plain)
    assert tree.total == plain.sum()
    assert tree.is_consistent()


@given(count=leaf_counts, seed=st.integers(0, 2**16))
def test_a_mass_falls_into_the_leaf_that_covers_it(count: int, seed: int) -> None:
    random, tree = np.random.default_rng(seed), SumTree(count)
    leaves = random.integers(0, 4, count).astype(np.float64)
    leaves[random.integers(count)] = 1.0
    tree.load(leaves)
    mass = np.concatenate([np.arange(leaves.sum()), random.random(50) * leaves.sum()])
    np.testing.assert_array_equal(tree.find(mass), np.searchsorted(np.cumsum(leaves), mass, side="right"))


@given(leaves=st.lists(hard_numbers, min_size=1, max_size=600).filter(any), seed=st.integers(0, 2**16))
def test_rounding_never_leads_to_a_leaf_that_holds_zero(leaves: list[float], seed: int) -> None:
    tree = SumTree(len(leaves))
    tree.load(np.array(leaves))
    fractions = np.append(np.random.default_rng(seed).random(200), [0.0, np.nextafter(1.0, 0.0), 1.0])
    assert (tree.get(tree.find(fractions * tree.total)) > 0).all()


@given(count=leaf_counts, seed=st.integers(0, 2**16))
def test_a_tree_is_a_function_of_its_leaves(count: int, seed: int) -> None:
    random, grown, loaded = np.random.default_rng(seed), SumTree(count), SumTree(count)
    for _ in range(3):
        grown.set(random.integers(0, count, 70), random.random(70))
    loaded.load(grown.leaves)
    mass = random.random(100) * grown.total
    assert loaded.total == grown.total
    assert loaded.is_consistent()
    np.testing.assert_array_equal(loaded.find(mass), grown.find(mass))


def test_setting_nothing_changes_nothing() -> None:
    tree = SumTree(5)
    tree.set(np.array([2]), 3.0)
    tree.set(np.array([], np.int64), 9.0)
    assert tree.leaves.tolist() == [0.0, 0.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [1, 16, 17, 5000])
def test_its_size_is_known_before_it_is_made(count: int) -> None:
    tree = SumTree(count)
    assert SumTree.bytes_for(count) == sum(level.nbytes for level in tree._levels)
