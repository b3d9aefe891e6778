"""A sum tree: draws leaves in proportion to what they hold, in batches (Schaul et al. 2016, appendix B.2.1).

Every node has FAN_OUT children, so a million leaves are five levels; a batch goes down a level in a handful of NumPy
calls whatever its size. A parent is always the sum of its children, added in one fixed order: errors do not build up,
and a tree is a function of its leaves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAN_OUT = 16
"""A node's children are 128 bytes: two cache lines a level."""


class SumTree:
    """Leaves 0 to num_leaves - 1 hold numbers that are not negative; all are zero at first."""

    def __init__(self, num_leaves: int) -> None:
        self._num_leaves = num_leaves
        self._levels = [np.zeros((nodes, FAN_OUT)) for nodes in _nodes_of_levels(num_leaves)]
        """From the leaves up; level j, node i holds its children's sums. The last level is one node."""

    @staticmethod
    def bytes_for(num_leaves: int) -> int:
        return sum(nodes * FAN_OUT * 8 for nodes in _nodes_of_levels(num_leaves))

    @property
    def total(self) -> float:
        return float(_sums(self._levels[-1])[0])

    @property
    def leaves(self) -> NDArray[np.float64]:
        """A view [num_leaves], to be read only."""
        return self._levels[0].reshape(-1)[: self._num_leaves]

    def get(self, index_n: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.leaves[index_n]

    def set(self, index_n: NDArray[np.int64], value_n: NDArray[np.float64] | float) -> None:
        """Where a leaf is named more than once, the last value counts."""
        if len(index_n) == 0:
            return
        self.leaves[index_n] = value_n
        node_n = index_n
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            node_n = node_n // FAN_OUT
            above.reshape(-1)[node_n] = _sums(level[node_n])

    def load(self, leaves: NDArray[np.float64]) -> None:
        """Hold exactly these leaves [num_leaves]."""
        self.leaves[:] = leaves
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            above.reshape(-1)[: len(level)] = _sums(level)

    def find(self, mass_n: NDArray[np.float64]) -> NDArray[np.int64]:
        """The leaf that each mass in [0, total) falls into when leaves lie end to end. Never one that holds zero."""
        lane_n, node_n = np.arange(len(mass_n)), np.zeros(len(mass_n), np.int64)
        for level in reversed(self._levels):
            ends_nc = np.cumsum(level[node_n], axis=1)
            # A parent may exceed its children's running sum by a rounding error.
            mass_n = np.minimum(mass_n, np.nextafter(ends_nc[:, -1], 0.0))
            child_n = np.count_nonzero(ends_nc <= mass_n[:, np.newaxis], axis=1)
            mass_n = mass_n - np.where(child_n > 0, ends_nc[lane_n, child_n - 1], 0.0)
            node_n = node_n * FAN_OUT + child_n
        return node_n

    def is_consistent(self) -> bool:
        """Whether every parent is its children's sum. Walks the whole tree."""
        return all(
            np.array_equal(above.reshape(-1)[: len(level)], _sums(level))
            for level, above in zip(self._levels, self._levels[1:], strict=False)
        )


def _nodes_of_levels(num_leaves: int) -> list[int]:
    nodes = [-(-num_leaves // FAN_OUT)]
    while nodes[-1] > 1:
        nodes.append(-(-nodes[-1] // FAN_OUT))
    return nodes


def _sums(children: NDArray[np.float64]) -> NDArray[np.float64]:
    """[nodes, FAN_OUT] as [nodes]: halves are added until one is left, an order that no shape changes."""
    while children.shape[1] > 1:
        half = children.shape[1] // 2
        children = children[:, :half] + children[:, half:]
    return children[:, 0]
