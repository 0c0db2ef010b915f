"""Passes: the order in which pixels become known. A pass is one pixel of every square, in one channel, in one call."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from nelbo.networks.pixel_options import SIDES

_FINEST = ((0, 0), (1, 1), (0, 1), (1, 0))


def _corners(side: int) -> tuple[tuple[int, int], ...]:
    """Return the places of a square in the order of the passes: from coarse to fine, far pixels first."""
    coarse = [(2 * row, 2 * column) for row, column in (_corners(side // 2) if side > 2 else ((0, 0),))]
    return tuple((row + r, column + c) for r, c in _FINEST for row, column in coarse)


CORNERS = {side: _corners(side) for side in SIDES}


@dataclass(frozen=True)
class Pass:
    """The pixels of one channel at one place of every square.

    Attributes:
        row, column: the place, from 0.
        channel: the channel.
        side: the side of a square.
    """

    row: int
    column: int
    channel: int
    side: int = 2

    def of(self, values: Tensor) -> Tensor:
        """Return the pixels of the pass, (..., h, w), of values (..., C, H, W), as a view."""
        return values[..., self.channel, self.row :: self.side, self.column :: self.side]

    @property
    def stage(self) -> int:
        """How often the number of known places has doubled before this one: 0, 1, 2, 2, 3, 3, 3, 3, 4, ..."""
        return self._place.bit_length()

    @property
    def spacing(self) -> int:
        """How many pixels apart, along rows and columns, the places are that are known after this stage."""
        return self.side >> (self.stage + 1) // 2

    @property
    def begins_stage(self) -> bool:
        """Whether the pass before is of an earlier stage, or there is none."""
        return self.channel == 0 and self._place & self._place - 1 == 0

    @property
    def _place(self) -> int:
        return CORNERS[self.side].index((self.row, self.column))

    def mask(self, shape: tuple[int, ...]) -> Tensor:
        """Return a (C, H, W) bool mask of the pixels of the pass."""
        mask = torch.zeros(shape, dtype=torch.bool)
        self.of(mask)[:] = True
        return mask


def num_stages(side: int) -> int:
    """Return how many stages the places of a square have; see `Pass.stage`."""
    return (side**2 - 1).bit_length() + 1


def passes(channels: int, side: int = 2) -> list[Pass]:
    """Return the passes in order."""
    return [Pass(row, column, c, side) for (row, column), c in product(CORNERS[side], range(channels))]


def known_before(order: Sequence[Pass], number: int, shape: tuple[int, ...]) -> Tensor:
    """Return a (C, H, W) bool mask of the pixels of the passes before number `number` of an order."""
    known = torch.zeros(shape, dtype=torch.bool)
    for a_pass in order[:number]:
        a_pass.of(known)[:] = True
    return known


def walk(shape: tuple[int, ...], side: int = 2) -> Iterator[tuple[Tensor, Pass]]:
    """Yield each pass in order, with a bool mask (C, H, W) of the pixels that are known before it."""
    known = torch.zeros(shape, dtype=torch.bool)
    for a_pass in passes(shape[0], side):
        yield known.clone(), a_pass
        a_pass.of(known)[:] = True
