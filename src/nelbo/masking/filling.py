"""A preview of a picture of which only some pixels are known: the others are means of their nearest known pixels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.diffusion.passes import Pass
from nelbo.masking.context import MIDDLE
from nelbo.masking.order import REACH, SIDE, level_of, nearest, place_of


def interpolated(x: Tensor, known: Tensor, real: Tensor, remaining: Sequence[Pass]) -> Tensor:
    """Return levels (B, C, H, W) float64: x where it is known, and elsewhere means, pass by pass from coarse to fine.

    It needs no network, so that a picture can be shown after every pass. The means are rounded at the end.

    Args:
        x: (B, C, H, W) int64 levels; ignored where unknown.
        known: (B, C, H, W) bool.
        real: (B, C, H, W) bool, the pixels of the picture and not of the padding of its tiles.
        remaining: the passes with unknown pixels; each takes the means of the passes before it as known.
    """
    filled, weight = torch.where(known, x, 0).double(), known.double()
    for now in remaining:
        step = 1 << level_of(now)
        grid = [F.pad(values[:, now.channel, ::step, ::step], (REACH,) * 4) for values in (filled, weight)]
        row, column, size = now.row // step, now.column // step, now.of(filled).shape[1:]
        ends = [first + SIDE * (num - 1) + 1 for first, num in zip((row, column), size, strict=True)]
        total, count = torch.zeros(2, len(x), *size, dtype=torch.float64)
        for dy, dx in nearest(place_of(now)).nonzero().tolist():
            place = (slice(None), slice(row + dy, ends[0] + dy, SIDE), slice(column + dx, ends[1] + dx, SIDE))
            total, count = total + grid[0][place], count + grid[1][place]
        mean = torch.where(count > 0, total / count.clamp(min=1), float(MIDDLE))
        unknown = ~now.of(known)
        now.of(filled)[:] = torch.where(unknown, mean, now.of(filled))
        now.of(weight)[:] = torch.maximum(now.of(weight), ((count > 0) & now.of(real)).double())
    return filled.round()
