"""What the network reads, by kind. N samples; uint8 unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockImages:
    """Space-to-depth stacks [N, rows, columns, 16 * frames * colours]: each 4x4 block of pixels became channels.

    Channel order: frame, row within the block, column within the block, colour; oldest frame first.
    """

    rows: int
    columns: int
    frames: int
    colours: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Stacks [N, height, width, frames * colours] whose sides do not divide by four. Channel order: frame, colour."""

    height: int
    width: int
    channels: int
    """Frames times colours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vectors:
    """Numbers of any dtype and shape [N, ...], `size` of them a sample, read as they are."""

    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Categories:
    """Integers [N] or [N, 1] in [0, count)."""

    count: int


ObservationSpec = BlockImages | Images | Vectors | Categories
