"""The ring in pieces, so that a checkpoint writes only what has changed, a little at a time."""

from __future__ import annotations

import numpy as np

from stepstream_trainer.replay.layout import ROW_BYTES
from stepstream_trainer.replay.ring import Ints, Ring
from stepstream_trainer.rows import Array

CHUNK_BYTES = 8_000_000
"""Of one chunk, about: a copy of it takes a few milliseconds."""

FIELDS = ("action", "reward", "flags", "older")


class Chunks:
    """Chunk c holds the positions [c x P, (c + 1) x P) of every slot's ring; the last one may be shorter."""

    def __init__(self, ring: Ring, *, row_bytes: int) -> None:
        """`row_bytes` of one frame."""
        self._ring = ring
        self._positions = max(1, CHUNK_BYTES // (ring.num_slots * (row_bytes + ROW_BYTES)))
        self.version_c = np.zeros(-(-ring.rows_per_slot // self._positions), np.int64)
        self._clock = 0

    def touched(self, position_n: Ints) -> None:
        """Something was written at these flat positions."""
        self._clock += 1
        self.version_c[position_n // (self._positions * self._ring.num_slots)] = self._clock

    def settled(self) -> Ints:
        """Those that hold something and that no slot will write before all slots have gone round.

        A slot behind others still has to write what lies between it and them.
        """
        rows, settled_c = self._ring.rows_per_slot, self.version_c > 0
        slowest, fastest = int(self._ring.newest_B.min()), int(self._ring.newest_B.max())
        to_come = np.arange(slowest, min(fastest, slowest + rows - 1) + 1)
        settled_c[to_come % rows // self._positions] = False
        return np.flatnonzero(settled_c)

    def read(self, number: int) -> dict[str, Array]:
        rows = self._rows(number)
        fields: dict[str, Array] = {name: getattr(self._ring, name)[rows].copy() for name in FIELDS}
        return {"frames": self._ring.frames.read(rows), **fields}

    def write(self, number: int, arrays: dict[str, Array]) -> None:
        rows = self._rows(number)
        self._ring.frames.write(rows, arrays["frames"])
        for name in FIELDS:
            getattr(self._ring, name)[rows] = arrays[name]

    def restore(self, version_c: Ints) -> None:
        self.version_c[:] = version_c
        self._clock = int(version_c.max(initial=0))

    def _rows(self, number: int) -> slice:
        begin, slots = number * self._positions, self._ring.num_slots
        end = min(begin + self._positions, self._ring.rows_per_slot)
        return slice(begin * slots, end * slots)
