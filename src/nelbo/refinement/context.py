"""What a digit network knows of the pixels around one whose next digit it predicts, in units of that pixel's interval.

Every pixel is known to lie in an interval of levels. In units of its own width, the question is the same for each
digit: in which part of the interval is the pixel, given where its neighbours are?
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.diffusion.passes import Pass
from nelbo.networks.digit_network import LARGEST_INPUT
from nelbo.networks.integers import UNIT
from nelbo.refinement.split import LevelSplit

WINDOW = 5  # side of the square around a pixel that the network reads
FINE, WIDE = 64, 4  # integers that stand for a difference of one interval: near the pixel exactly, and far from it
SIDE = 2  # of the squares whose pixels become known one after another


def num_inputs(channels: int) -> int:
    """Return how many numbers the network reads for a pixel of C channels: 3 for each of the window, and its level."""
    return 3 * channels * WINDOW**2 + 1


def numbers(
    split: LevelSplit, x: Tensor, known: Tensor, stage: int, now: Pass, observed: Tensor | None = None
) -> Tensor:
    """Return the network's input for the pixels of a pass: (B, h, w, I) float32 integers within -255..255.

    The parts are, for each value of the window, the difference of its middle to that of the interval of the pixel in
    the same channel, on a fine and on a wide scale, and whether its digit is known. Pixels outside of the image and
    missing pixels are like the pixel itself and unknown.

    Args:
        split: of the K levels.
        x: (B, C, H, W) levels, of which only known digits are used.
        known: (C, H, W) bool, the pixels whose digit `stage` is known.
        stage: number of the digit.
        now: the pass.
        observed: (B, C, H, W) bool, false for missing pixels; None for all.
    """
    before, after = split.middle(x, stage), split.middle(x, stage + 1)
    here, width = _here(before, now), 2 << split.shift(stage)
    around = _windows(torch.where(known, after, before), now) - here.unsqueeze(-1)
    around = around * _windows(torch.ones_like(before[:1]), now)
    if observed is not None:
        known = known & observed
        around = around * _windows(observed.long(), now) * _here(observed, now).long().unsqueeze(-1)
    fine, wide = (around * unit // width for unit in (FINE, WIDE))
    seen = _windows(known.expand_as(x).long(), now) * UNIT
    level = (now.of(x) >> split.bits).long() - (split.coarse_levels >> 1)
    parts = [part.movedim(1, -2).flatten(-2) for part in (fine, wide, seen)]
    found = torch.cat([*parts, level.unsqueeze(-1)], -1)
    return found.clamp(-LARGEST_INPUT, LARGEST_INPUT).float()


def _here(values: Tensor, now: Pass) -> Tensor:
    """Return the values of all channels at the pixels of a pass: (B, C, h, w)."""
    return values[..., now.row :: now.side, now.column :: now.side]


def _windows(values: Tensor, now: Pass) -> Tensor:
    """Return the windows around the pixels of a pass in values (B, C, H, W): (B, C, h, w, WINDOW^2), 0 outside."""
    reach = WINDOW // 2
    rows, columns = len(range(now.row, values.shape[2], now.side)), len(range(now.column, values.shape[3], now.side))
    padded = F.pad(values, (reach, reach + now.side, reach, reach + now.side))[..., now.row :, now.column :]
    cut = padded.unfold(2, WINDOW, now.side).unfold(3, WINDOW, now.side)[:, :, :rows, :columns]
    return cut.flatten(4)
