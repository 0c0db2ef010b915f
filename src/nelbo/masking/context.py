"""What the network reads about an unknown pixel, in integers: the known pixels around it, in units of their contrast.

All values are relative to the mean of the four nearest known pixels, and to a power of two near the contrast of the
known pixels around. So a texture in the shade looks to the network as it does in the light.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.masking.order import PLACES, REACH, SIDE, WINDOW, nearest
from nelbo.networks.context_network import LARGEST_INPUT

QUARTERS = 4  # units of a difference in a grey level
MIDDLE = 128  # level, where no pixel nearby is known
RINGS = (4, 2, 1)  # weights of the pixels at a distance of 1, 2 and 3 in the contrast
# 1,024 (2^(k - 1/2) - 0.4), rounded down: the contrast in levels, and 0.4, are rounded to a power of two 2^k
OCTAVES = (314, 1038, 2486, 5383, 11175, 22760, 45931, 92272)
OCTAVE_UNIT = 1 << 10
FEW = 5  # octave where nothing around is known
LINEAR_BITS = 12  # of a coefficient of the linear prediction
PARTS = 64  # units of a prediction in a grey level
NUM_LEVELS = 256


@dataclass(frozen=True, eq=False)
class Context(Brief):
    """The surroundings of n unknown pixels of one place and one channel.

    Attributes:
        differences: (n, 49 C) int64, of the pixels of the window from `near`, in quarters of a level; 0 if unknown.
        near: (n, C) int64, the sum of the four nearest known pixels in each channel.
        octave: (n,) int64, the contrast around is about 2^octave levels.
        channel: of the pixels.
    """

    differences: Tensor
    near: Tensor
    octave: Tensor
    channel: int

    def predicted(self, coefficients: Tensor) -> Tensor:
        """Return the linear prediction (n,) int64 in 1/64 of a level.

        Args:
            coefficients: (49 C,) int64, in units of 2^-12.
        """
        summed = (self.differences.double() @ coefficients.double()).long()  # exact: far below 2^53
        return ((PARTS // QUARTERS) * self.near[:, self.channel] + (summed >> 8)).clamp(0, PARTS * (NUM_LEVELS - 1))

    def numbers(self, prediction: Tensor) -> Tensor:
        """Return the network's input (n, 49 C + 2 + C), integers as float32: 32 stands for a difference of 2^octave.

        Args:
            prediction: (n,), of `predicted`.
        """
        halvings = (self.octave + 1)[:, None]
        beyond = prediction - (PARTS // QUARTERS) * self.near[:, self.channel]
        parts = [
            self.differences * 16 >> halvings,
            beyond[:, None] >> halvings,
            16 * self.octave[:, None] - 32,
            (self.near >> 4) - 32,
        ]
        return torch.cat(parts, 1).clamp(-LARGEST_INPUT, LARGEST_INPUT).float()

    def at(self, chosen: Tensor) -> "Context":
        """Return it for some of the pixels, by a bool mask (n,)."""
        return Context(self.differences[chosen], self.near[chosen], self.octave[chosen], self.channel)


def num_inputs(channels: int) -> int:
    """Return how many numbers the network reads: the differences, the prediction, the octave, and near pixels."""
    return channels * WINDOW**2 + 2 + channels


def context_of(x: Tensor, known: Tensor, place: int, channel: int) -> Context:
    """Return the surroundings of the pixels of a pass, in the order of batch, row and column.

    Args:
        x: (B, C, h, w) int64 levels of a grid; ignored where unknown.
        known: (B, C, h, w) or (C, h, w) bool.
        place: an index of `PLACES`.
        channel: the channel.
    """
    row, column = PLACES[place]
    mask = _windows(known.expand(x.shape), row, column)  # n, C, 7, 7
    around = nearest(place)
    seen = mask[:, channel] & around.to(mask.device)
    count = seen.sum((1, 2))[:, None]
    values = _windows(x, row, column)
    total = (values * seen[:, None]).sum((2, 3))
    whole = torch.where(count == QUARTERS, total, QUARTERS * total // count.clamp(min=1))
    near = torch.where(count > 0, whole, QUARTERS * MIDDLE)
    differences = (QUARTERS * values - near[:, :, None, None]) * mask
    return Context(differences.flatten(1), near, _octave(differences, mask, channel), channel)


def _windows(values: Tensor, row: int, column: int) -> Tensor:
    """Return the windows (n, C, 7, 7) around the pixels of a place in values (B, C, h, w).

    Beyond an edge, a window repeats the last square of 4 x 4, whose pixels become known in the same order.
    """
    height, width = values.shape[2:]
    if row >= height or column >= width:
        return values.new_zeros(0, values.shape[1], WINDOW, WINDOW)
    rows = _repeated(torch.arange(-REACH, height + REACH), height)
    columns = _repeated(torch.arange(-REACH, width + REACH), width)
    padded = values[:, :, rows][..., columns]
    cut = padded[..., row:, column:].unfold(2, WINDOW, SIDE).unfold(3, WINDOW, SIDE)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def _repeated(places: Tensor, num: int) -> Tensor:
    places = torch.where(places < 0, places + SIDE, places)
    return torch.where(places >= num, places - SIDE, places).clamp(0, num - 1)


def _octave(differences: Tensor, mask: Tensor, channel: int) -> Tensor:
    """Return k (n,) such that the contrast around each pixel is about 2^k levels.

    It is the mean of the absolute differences in the same channel, with the weights `RINGS`; and, if other channels of
    the pixel are known, the mean of that and of their differences.
    """
    weights = _ring_weights().to(mask.device) * mask[:, channel]
    total = weights.sum((1, 2))
    numerator, denominator = (weights * differences[:, channel].abs()).sum((1, 2)), QUARTERS * total
    if channel:
        others = differences[:, :channel, REACH, REACH].abs().sum(1)
        numerator = channel * numerator + others * total
        denominator = 2 * channel * denominator
    limits = torch.tensor(OCTAVES, device=differences.device)
    above = OCTAVE_UNIT * numerator[:, None] >= limits * denominator[:, None]
    return torch.where(denominator > 0, above.sum(1) - 1, FEW)


def _ring_weights() -> Tensor:
    distance = torch.arange(-REACH, REACH + 1).abs()
    ring = torch.maximum(distance[:, None], distance)
    return torch.tensor([0, *RINGS])[ring]
