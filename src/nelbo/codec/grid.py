"""The grid on which xhat_0 is rounded: the sender moves it until no rounding error can change a rounded value.

The grid has two places in each grey level and covers the levels 0..K-1. Values come in blocks of 1,024, and each block
has an offset of its own.
"""

import torch
from torch import Tensor

from nelbo.diffusion.pixel_decoder import top_place
from nelbo.probability.logistic import HALVES

OFFSETS = 256  # offsets to try, a power of two; an offset of 256 means that none is safe
BLOCK = 1024  # values that share an offset
MARGIN = 1e-4  # distance from an edge, in levels: 30,000 times the float64 difference seen at the end of a chain


def rounded(values: Tensor, offset: int) -> Tensor:
    """Round values (n,) in units of the grid to the nearest place, int64, of the grid moved by offset / 256."""
    return (values.double() + (0.5 + offset / OFFSETS)).floor().long()


def safe_offset(values: Tensor, margin: float, low: int, high: int) -> int | None:
    """Return the first offset at which every value keeps a distance from every edge between two places.

    Args:
        values: (n,) in units of the grid.
        margin: the distance, in units of the grid.
        low: lower end of the range to which rounded values are clamped; edges outside it do not count.
        high: upper end of this range.

    Returns:
        An offset for `rounded`, or None if no offset is safe.
    """
    if not bool(values.isfinite().all()):
        return None
    for offset in range(OFFSETS):
        up, down = (rounded(values + d, offset).clamp(low, high) for d in (margin, -margin))
        if torch.equal(up, down):
            return offset
    return None


def safe_offsets(values: Tensor, levels: int) -> list[list[int]]:
    """Return the offset of each block of each tile of values (tiles, D), `OFFSETS` where no offset is safe."""
    found = [
        [safe_offset(block, MARGIN * HALVES, 0, top_place(levels)) for block in tile.split(BLOCK)] for tile in values
    ]
    return [[OFFSETS if offset is None else offset for offset in own] for own in found]


def centers(values: Tensor, offsets: list[list[int]], levels: int) -> Tensor:
    """Round values (tiles, D) by the offsets of their blocks: int64 in 0..2 (K - 1); K - 1 where no offset is safe."""
    top = top_place(levels)
    rows = [
        torch.cat([_center(block, offset, top) for block, offset in zip(tile.split(BLOCK), own, strict=True)])
        for tile, own in zip(values, offsets, strict=True)
    ]
    return torch.stack(rows)


def _center(block: Tensor, offset: int, top: int) -> Tensor:
    return torch.full(block.shape, top // 2) if offset == OFFSETS else rounded(block, offset).clamp(0, top)
