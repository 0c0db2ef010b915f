"""The order in which the pixels of a picture become known, from coarse to fine.

Section 4.3 of the paper: a forward process that masks the coordinates one after another, in place of adding noise, has
the prior of a blank image, no KL but that of the unmasked coordinates, and a reverse process that is an autoregressive
model. Here a step of the process masks many pixels at once: those of a pass.

The picture is a pyramid of grids. On the coarsest grid, the pixels of each square of 4 x 4 become known one after
another. Each finer grid has twice the rows and columns: a quarter of its pixels are known from the coarser one, and the
other twelve places of each square follow.
"""

from functools import cache

import torch
from torch import Tensor

from nelbo.diffusion.passes import CORNERS, Pass

SIDE = 4  # of a square, in pixels of its grid
PLACES = CORNERS[SIDE]
FROM_COARSER = 4  # places of a square that are known from the coarser grid
LEVELS = 6  # grids with pixels 1, 2, 4, .. 32 apart
GROUPS = 3  # of grids with parameters of their own: 1 apart, 2 apart, and further
REACH = 3
WINDOW = 2 * REACH + 1  # side of the window of pixels that a prediction reads, in pixels of its grid


def masking_passes(channels: int) -> list[Pass]:
    """Return the passes of a picture of any size, in order.

    >>> len(masking_passes(1))
    76
    """
    found = []
    for level in reversed(range(LEVELS)):
        for row, column in PLACES[0 if level == LEVELS - 1 else FROM_COARSER :]:
            corner = row << level, column << level
            found += [Pass(*corner, channel, SIDE << level) for channel in range(channels)]
    return found


def level_of(now: Pass) -> int:
    """Return the level of a pass: the pixels of its grid are 2^level apart."""
    return (now.side // SIDE).bit_length() - 1


def place_of(now: Pass) -> int:
    """Return the place of a pass in its squares: an index of `PLACES`."""
    level = level_of(now)
    return PLACES.index((now.row >> level, now.column >> level))


def step_of(level: int, place: int, channel: int, channels: int) -> int:
    """Return the number of the parameters of a pass, below `num_steps`."""
    return (min(level, GROUPS - 1) * len(PLACES) + place) * channels + channel


def num_steps(channels: int) -> int:
    """Return how many passes have parameters of their own."""
    return GROUPS * len(PLACES) * channels


@cache
def nearest(place: int) -> Tensor:
    """Return a (7, 7) bool mask of the four nearest pixels of a place that are known before it."""
    row, column = PLACES[place]
    distance = 2 if place < FROM_COARSER else 1  # on the coarsest grid, the first four places are 2 apart
    diagonal = (row // distance % 2, column // distance % 2) == (1, 1)
    mask = torch.zeros(WINDOW, WINDOW, dtype=torch.bool)
    for d in (-distance, distance):
        for dy, dx in ((d, d), (d, -d)) if diagonal else ((d, 0), (0, d)):
            mask[REACH + dy, REACH + dx] = True
    return mask


@cache
def known_pattern(place: int, channel: int, channels: int) -> Tensor:
    """Return a (C, 4, 4) bool mask of the pixels of a square that are known before a pass."""
    number = torch.empty(SIDE, SIDE, dtype=torch.int64)
    for i, (row, column) in enumerate(PLACES):
        number[row, column] = i
    earlier = number < place
    if place >= FROM_COARSER:
        earlier |= number < FROM_COARSER
    return torch.stack([earlier | (number == place) & (c < channel) for c in range(channels)])
