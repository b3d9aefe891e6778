"""The replay memory of one learner: rows come in as groups of slots answer, batches of complete steps go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.replay.chunks import Chunks
from stepstream_trainer.replay.frames import DeviceFrames, FrameStore, HostFrames
from stepstream_trainer.replay.layout import FrameLayout, ReplayOptions, refuse_too_small
from stepstream_trainer.replay.ring import STEPPED, Ints, Outcomes, Ring
from stepstream_trainer.replay.sum_tree import SumTree
from stepstream_trainer.replay.windows import n_step_returns, stack_positions
from stepstream_trainer.rows import Array


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplaySample:
    """N steps on the device. Their observations are valid until the next sample."""

    observation_N: torch.Tensor
    """[N, *stacked_shape]"""
    action_N: torch.Tensor
    """int64"""
    return_N: torch.Tensor
    """float32: discounted rewards of up to n steps, to the return's end."""
    next_observation_N: torch.Tensor
    """[N, *stacked_shape] after these steps; zero where the return ended."""
    bootstrap_N: torch.Tensor
    """float32: what the next observation's value counts, discount ** steps; 0 where the return ended."""
    weight_N: torch.Tensor
    """float32 importance weights over the batch's largest; ones when uniform."""
    index_N: Ints
    """What `update_priorities` takes: row x B + slot, never used for another step."""
    age_N: Ints
    """Rows that its slot has taken since: its steps, and one for each truncation."""


class Replay:
    """See the package's docstring. B slots, N samples."""

    def __init__(
        self,
        options: ReplayOptions,
        layout: FrameLayout,
        *,
        device: torch.device,
        frames_device: torch.device | None = None,
    ) -> None:
        """Samples arrive on `device`; frames are kept there too when `frames_device` names it, else in host memory.

        Raises ReplayTooSmallError.
        """
        refuse_too_small(options, layout)
        rows = options.rows_per_slot * options.num_slots
        on_device = frames_device is not None and frames_device.type != "cpu"
        frames: FrameStore = (DeviceFrames if on_device else HostFrames)(layout, rows, device)
        self.options = options
        self.layout = layout
        self.ring = Ring(
            rows_per_slot=options.rows_per_slot,
            num_slots=options.num_slots,
            depth=layout.depth,
            n_step=options.n_step,
            frames=frames,
        )
        self.tree = SumTree(rows) if options.priority else None
        self._chunks = Chunks(self.ring, row_bytes=layout.frame_bytes)
        self._device = device
        self._new_leaf = 1.0
        """What a new step gets: the largest leaf so far, so that it is soon drawn."""

    def __len__(self) -> int:
        """Steps that can be sampled."""
        return self.ring.size

    def begin(self, slots: slice, observation_n: Array, *, mid_episode: bool = False) -> None:
        """The first observations of these slots, which hold none yet: of an episode, or from within one."""
        slot_n = np.arange(slots.start, slots.stop)
        self._chunks.touched(self.ring.begin(slot_n, observation_n, mid_episode=mid_episode))

    def append(self, slots: slice, outcomes: Outcomes) -> None:
        """One row of each of these slots."""
        changes = self.ring.append(np.arange(slots.start, slots.stop), outcomes)
        self._chunks.touched(changes.written)
        if self.tree is not None:
            self.tree.set(changes.removed, 0.0)
            self.tree.set(changes.added, self._new_leaf)

    def sample(self, batch_size: int, draw_number: int, importance_exponent: float = 0.0) -> ReplaySample:
        """A batch, drawn with replacement: a function of the seed, the draw's number and what is stored."""
        index_N = self.draw(batch_size, draw_number)
        row_N, slot_N = np.divmod(index_N, self.options.num_slots)
        ring, returns = self.ring, n_step_returns(self.ring, slot_N, row_N, self.options.discount)
        next_ND = stack_positions(ring, slot_N, returns.next_row_N, blank_N=returns.terminal_N)
        observation_2N = ring.frames.stacks(np.stack([stack_positions(ring, slot_N, row_N), next_ND]))
        position_N = ring.positions(slot_N, row_N)
        return ReplaySample(
            observation_N=observation_2N[0],
            action_N=self._moved(ring.action[position_N].astype(np.int64)),
            return_N=self._moved(returns.return_N),
            next_observation_N=observation_2N[1],
            bootstrap_N=self._moved(returns.bootstrap_N),
            weight_N=self._moved(self._weights(position_N, importance_exponent)),
            index_N=index_N,
            age_N=ring.newest_B[slot_N] - row_N,
        )

    def draw(self, batch_size: int, draw_number: int) -> Ints:
        """The indices that `sample` rebuilds."""
        assert self.ring.size > 0
        key = np.array([self.options.seed, draw_number], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        if self.tree is None:
            slot_N, row_N = self._draw_uniform(generator, batch_size)
        else:
            slot_N, row_N = self.ring.rows_at(self._draw_prioritized(self.tree, generator, batch_size))
        index_N: Ints = row_N * self.options.num_slots + slot_N
        return index_N

    def update_priorities(self, index_N: Ints, priority_N: NDArray[np.floating[Any]]) -> None:
        """New priorities of sampled steps, |TD error| or divergence. Steps that have been given up since are left out.

        Where a step comes twice, the later one counts.
        """
        assert self.tree is not None
        assert self.options.priority is not None
        assert np.isfinite(priority_N).all()
        row_N, slot_N = np.divmod(index_N, self.options.num_slots)
        held_N = (row_N >= self.ring.low_B[slot_N]) & (row_N < self.ring.high_B[slot_N])
        raised_N = np.maximum(np.asarray(priority_N, np.float64), self.options.priority.floor)
        leaf_N = raised_N[held_N] ** self.options.priority.exponent
        self.tree.set(self.ring.positions(slot_N, row_N)[held_N], leaf_N)
        self._new_leaf = max(self._new_leaf, float(leaf_N.max(initial=0.0)))

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Copies of all but the chunks."""
        ring = self.ring
        return {
            "newest": ring.newest_B.copy(),
            "low": ring.low_B.copy(),
            "high": ring.high_B.copy(),
            "size": ring.size,
            "chunk_versions": self._chunks.version_c.copy(),
            "new_leaf": self._new_leaf,
            "leaves": np.zeros(0) if self.tree is None else self.tree.leaves.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where the state was taken, once every chunk that it names a version of is written too.

        The state is of a replay of the same shape.
        """
        ring = self.ring
        ring.newest_B[:], ring.low_B[:], ring.high_B[:] = state["newest"], state["low"], state["high"]
        ring.size = int(state["size"])
        self._chunks.restore(np.asarray(state["chunk_versions"]))
        self._new_leaf = float(state["new_leaf"])
        if self.tree is not None:
            self.tree.load(state["leaves"])

    def chunk_versions(self) -> Ints:
        """[chunks]: 0 where nothing was written yet; otherwise another number each time the chunk changed."""
        return self._chunks.version_c.copy()

    def settled_chunks(self) -> Ints:
        """Chunks that hold something and that no slot is writing."""
        return self._chunks.settled()

    def read_chunk(self, number: int) -> dict[str, Array]:
        """A copy."""
        return self._chunks.read(number)

    def write_chunk(self, number: int, arrays: dict[str, Array]) -> None:
        """What `read_chunk` gave."""
        self._chunks.write(number, arrays)

    def _draw_uniform(self, generator: np.random.Generator, batch_size: int) -> tuple[Ints, Ints]:
        """Slots and rows of steps; what falls on an open row is drawn again."""
        length_B = self.ring.lengths_B()
        end_B = np.cumsum(length_B)
        slot_N, row_N = np.zeros(batch_size, np.int64), np.zeros(batch_size, np.int64)
        missing = np.arange(batch_size)
        while len(missing):
            draw = generator.integers(0, end_B[-1], len(missing))
            slot = np.searchsorted(end_B, draw, side="right")
            row = self.ring.high_B[slot] - (end_B[slot] - draw)
            slot_N[missing], row_N[missing] = slot, row
            missing = missing[(self.ring.flags[self.ring.positions(slot, row)] & STEPPED) == 0]
        return slot_N, row_N

    @staticmethod
    def _draw_prioritized(tree: SumTree, generator: np.random.Generator, batch_size: int) -> Ints:
        """Flat positions, one from each of `batch_size` strata of equal mass (Schaul et al. 2016, section 3.3)."""
        strata = np.arange(batch_size) + generator.random(batch_size)
        return tree.find(strata * (tree.total / batch_size))

    def _weights(self, position_N: Ints, exponent: float) -> NDArray[np.float32]:
        """(size x probability) ** -exponent over the batch's largest (Schaul et al. 2016, section 3.4)."""
        if self.tree is None:
            return np.ones(len(position_N), np.float32)
        weight_N = (self.ring.size * self.tree.get(position_N) / self.tree.total) ** -exponent
        weight: NDArray[np.float32] = (weight_N / weight_N.max()).astype(np.float32)
        return weight

    def _moved(self, values: Array) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)
