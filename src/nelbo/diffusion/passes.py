"""Passes: the order in which pixels become known. A pass is one pixel of every square, in one channel, in one call."""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

# Of each square of side 2 or 4, in the order of the passes: from coarse to fine, far pixels first.
_COARSE = ((0, 0), (2, 2), (0, 2), (2, 0))
CORNERS = {
    2: ((0, 0), (1, 1), (0, 1), (1, 0)),
    4: tuple((row + r, column + c) for r, c in ((0, 0), (1, 1), (0, 1), (1, 0)) for row, column in _COARSE),
}


def passes(channels: int, side: int = 2) -> list[tuple[int, int, int]]:
    """Return (row, column, channel) of each pass: one pixel of every square of side x side, in one channel."""
    return [(row, column, c) for (row, column), c in product(CORNERS[side], range(channels))]


def members(a_pass: tuple[int, int, int], shape: tuple[int, ...], side: int = 2) -> Tensor:
    """Return a (C, H, W) bool mask of the pixels that become known in a pass."""
    row, column, channel = a_pass
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[channel, row::side, column::side] = True
    return mask


def walk(shape: tuple[int, ...], side: int = 2) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield bool masks (C, H, W) of each pass in order: pixels known before it, and pixels that become known in it."""
    known = torch.zeros(shape, dtype=torch.bool)
    for a_pass in passes(shape[0], side):
        new = members(a_pass, shape, side)
        yield known.clone(), new
        known |= new
