"""The lossless end: x_0 given the network's last xhat_0, pixel by pixel, in whole numbers only.

A small network of integers reads the rounded xhat_0 and the pixels that are known already, and gives each unknown pixel
a mixture of logistic distributions over the K levels. Its products and sums are integers below 2^53, which float64
holds exactly in any order, so that every machine makes the same tables. Pixels become known in passes, a quarter of one
channel at a time, so that a pass is one call.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nelbo.codec.frozen import (
    EXP_REACH,
    EXP_STEPS,
    LEVEL_PARTS,
    LOGISTIC_REACH,
    LOGISTIC_STEPS,
    LOGISTIC_UNIT,
    SCALES,
    exponentials,
    inverse_scales,
    logistic_cdf,
)
from nelbo.codec.range_coder import TOTAL

HALVES = 2  # places of the grid of xhat_0 in one level
COMPONENTS = 3
CORNERS = ((0, 0), (1, 1), (0, 1), (1, 0))  # of each square of 2 x 2: the order of the passes
WEIGHT_BITS, VALUE_BITS, LARGEST_VALUE = 12, 8, 1 << 14
INPUT = 64  # what the network sees as 1


def passes(channels: int) -> list[tuple[int, int, int]]:
    """(row, column, channel) of each pass: a corner of every square of 2 x 2, in one channel."""
    return [(row, column, c) for (row, column), c in product(CORNERS, range(channels))]


def members(a_pass: tuple[int, int, int], shape: tuple[int, ...]) -> Tensor:
    """(C, H, W) bool: the pixels that become known in a pass."""
    row, column, channel = a_pass
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[channel, row::2, column::2] = True
    return mask


@dataclass(frozen=True)
class PixelOptions:
    """What a pixel network is made of.

    Attributes:
        channels: of the image.
        hidden: features of each inner layer.
        levels: K.
    """

    channels: int = 1
    hidden: int = 32
    levels: int = 256


class PixelNetwork(nn.Module):
    """The network as it is trained: floats, clamped as the integers will be."""

    def __init__(self, options: PixelOptions) -> None:
        super().__init__()
        self.options = options
        channels, hidden = options.channels, options.hidden
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(3 * channels, hidden, 5, padding=2),
                nn.Conv2d(hidden, hidden, 3, padding=1),
                nn.Conv2d(hidden, 3 * COMPONENTS * channels, 1),
            ]
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        with torch.no_grad():  # three components of different widths at the mean
            bias = last.bias.view(channels, 3, COMPONENTS)  # type: ignore[union-attr]
            bias.zero_()
            bias[:, 2] = torch.tensor([1.0, 0.0, -1.5])

    def forward(self, features: Tensor) -> Tensor:
        """(B, 3C, H, W) of whole numbers -> (B, C, 3, components, H, W): logits, shifts and log2-scales."""
        h = features / INPUT
        for layer in self.layers[:-1]:
            h = layer(h).clamp(0, LARGEST_VALUE / 2**VALUE_BITS)
        h = self.layers[-1](h)
        return h.unflatten(1, (self.options.channels, 3, COMPONENTS))  # type: ignore[no-any-return]


def features(center: Tensor, x: Tensor, known: Tensor, levels: int) -> Tensor:
    """What the network reads: (B, 3C, H, W) whole numbers from the rounded xhat_0, the pixels, and which are known.

    Args:
        center: (B, C, H, W) int64, in half levels.
        x: (B, C, H, W) levels; of no account where unknown.
        levels: K.
        known: (C, H, W) or (B, C, H, W) bool.
    """
    seen = known.expand_as(center).long()
    return torch.cat([center - (levels - 1), (HALVES * x.long() - center) * seen, INPUT * seen], 1)


class IntegerNetwork:
    """The same network in integers of float64: exact, whatever the order of the sums.

    Attributes:
        weights, biases: of each layer, whole numbers.
    """

    def __init__(self, options: PixelOptions, weights: list[Tensor], biases: list[Tensor]) -> None:
        self.options, self.weights, self.biases = options, weights, biases

    @classmethod
    def of(cls, network: PixelNetwork) -> "IntegerNetwork":
        """Round a trained network."""
        weights, biases = [], []
        for place, layer in enumerate(network.layers):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            unit = INPUT if place == 0 else 2**VALUE_BITS  # of the layer's input
            weights.append((layer.weight.detach().double() * 2**WEIGHT_BITS).round())
            biases.append((layer.bias.detach().double() * 2**WEIGHT_BITS * unit).round())
        return cls(network.options, weights, biases)

    def __call__(self, numbers: Tensor) -> NDArray[np.int64]:
        """(B, 3C, H, W) whole numbers -> (B, C, 3, components, H, W) int64, in units of 1/256."""
        h, unit = numbers.double(), INPUT
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (_convolved(h, weight) + bias[:, None, None]).mul(2**VALUE_BITS / (unit * 2**WEIGHT_BITS)).floor()
            if place < len(self.weights) - 1:
                h = h.clamp(0, LARGEST_VALUE)
            unit = 2**VALUE_BITS
        output: NDArray[np.int64] = h.long().unflatten(1, (self.options.channels, 3, COMPONENTS)).numpy()
        return output


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution as one matrix product, so that nothing cleverer (Winograd, Fourier) is chosen for it."""
    size = weight.shape[2]
    if size == 1:
        mixed: Tensor = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x)
        return mixed
    patches = F.unfold(x, size, padding=size // 2)  # B, C * size^2, HW
    summed: Tensor = (weight.flatten(1) @ patches).unflatten(2, x.shape[2:])
    return summed


@dataclass(frozen=True, eq=False)
class LogisticMixture:
    """A mixture over the K levels for each of n pixels, in integers: (n, components) each.

    Attributes:
        weight: in units of exp's table.
        mean: in sixteenths of a level.
        scale: index of the table of scales.
    """

    weight: NDArray[np.int64]
    mean: NDArray[np.int64]
    scale: NDArray[np.int64]
    levels: int

    @classmethod
    def read(cls, output: NDArray[np.int64], center: NDArray[np.int64], levels: int) -> "LogisticMixture":
        """From the network's output (n, 3, components) and the rounded xhat_0 (n,) in half levels.

        A shift of 1 is 4 levels, a log-scale of 1 an octave; both, and the logits, come in units of 1/256.
        """
        logit, shift, scale = output[:, 0], output[:, 1], output[:, 2]
        behind = np.minimum((logit.max(1, keepdims=True) - logit) * EXP_STEPS // 256, EXP_REACH * EXP_STEPS)
        mean = (LEVEL_PARTS // HALVES) * center[:, None] + (shift >> 2)
        index = np.clip((scale * 8 + 128 >> 8) + SCALES // 2, 0, SCALES - 1)
        return cls(exponentials()[behind], mean, index, levels)

    def cumulative(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cumulative table at levels (n, m), 0..K: 0 at 0, 2^16 at K, and at least 1 more at each level."""
        edge = LEVEL_PARTS * level[:, :, None] - LEVEL_PARTS // 2
        middle = LOGISTIC_REACH * LOGISTIC_STEPS
        step = ((edge - self.mean[:, None]) * inverse_scales()[self.scale][:, None] >> 16) + middle
        mass = logistic_cdf()[np.clip(step, 0, 2 * middle)]
        free = TOTAL - self.levels
        below = (mass * self.weight[:, None]).sum(2) * free // (LOGISTIC_UNIT * self.weight.sum(1)[:, None]) + level
        return np.where(level == 0, 0, np.where(level == self.levels, TOTAL, below))

    def tables(self) -> NDArray[np.int64]:
        """(n, K + 1) every pixel's table."""
        return self.cumulative(np.broadcast_to(np.arange(self.levels + 1), (len(self.mean), self.levels + 1)))

    def expected(self) -> NDArray[np.float64]:
        """(n,) the mean level: for looking, not for coding."""
        masses = np.diff(self.tables(), axis=1)
        return masses @ np.arange(self.levels) / TOTAL


def log2_masses(output: Tensor, center: Tensor, x: Tensor, levels: int) -> Tensor:
    """(B, C, H, W) log2 of the mass that the mixture of (B, C, 3, components, H, W) gives to levels x: for training."""
    logit, shift, scale = output.unbind(2)
    mean = center[:, :, None] / HALVES + 4 * shift
    inverse = torch.exp2(-(scale.clamp(-SCALES / 16, (SCALES - 1) / 8 - SCALES / 16) + SCALES / 16 - 5))
    lower, upper = ((x[:, :, None] + d - mean) * inverse for d in (-0.5, 0.5))
    below = torch.where(x[:, :, None] == 0, 0, torch.sigmoid(lower))
    mass = torch.where(x[:, :, None] == levels - 1, 1 - below, torch.sigmoid(upper) - below)
    mixed = (logit.softmax(2) * mass).sum(2)
    share = 1 - levels / TOTAL
    return torch.log2((share * mixed).clamp(min=0) + 1 / TOTAL)


def walk(shape: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """(known, next) masks (C, H, W) of every pass in turn."""
    known = torch.zeros(shape, dtype=torch.bool)
    for a_pass in passes(shape[0]):
        new = members(a_pass, shape)
        yield known.clone(), new
        known |= new
