"""Passes: the order in which pixels become known, a quarter of one channel at a time, so that a pass is one call."""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

CORNERS = ((0, 0), (1, 1), (0, 1), (1, 0))  # of each square of 2 x 2 pixels, in the order of the passes


def passes(channels: int) -> list[tuple[int, int, int]]:
    """Return (row, column, channel) of each pass: one corner of every square of 2 x 2, in one channel."""
    return [(row, column, c) for (row, column), c in product(CORNERS, range(channels))]


def members(a_pass: tuple[int, int, int], shape: tuple[int, ...]) -> Tensor:
    """Return a (C, H, W) bool mask of the pixels that become known in a pass."""
    row, column, channel = a_pass
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[channel, row::2, column::2] = True
    return mask


def walk(shape: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield bool masks (C, H, W) of each pass in order: pixels known before it, and pixels that become known in it."""
    known = torch.zeros(shape, dtype=torch.bool)
    for a_pass in passes(shape[0]):
        new = members(a_pass, shape)
        yield known.clone(), new
        known |= new
