"""The network of the lossless end: p(x_0 | the last xhat_0), pixel by pixel, in integers.

A small network reads the rounded xhat_0 and the pixels that are known already, and gives each unknown pixel a mixture
of logistic distributions over the K levels. Training uses floats. The codec uses integers below 2^53, whose products
and sums float64 holds exactly in any order, so that every machine computes the same tables.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nelbo.codec.lattice import HALVES
from nelbo.codec.options import PixelOptions

COMPONENTS = 3
WEIGHT_BITS, VALUE_BITS, LARGEST_VALUE = 12, 8, 1 << 14
INPUT = 64  # the integer that stands for 1 in the network's input


def layer_sizes(options: PixelOptions) -> list[tuple[int, int, int]]:
    """Return (input features, output features, kernel side) of each convolution."""
    channels, hidden = options.channels, options.hidden
    return [(3 * channels, hidden, 5), (hidden, hidden, 3), (hidden, 3 * COMPONENTS * channels, 1)]


class PixelNetwork(nn.Module):
    """The network in training: floats, clamped like the integers."""

    def __init__(self, options: PixelOptions) -> None:
        super().__init__()
        self.options = options
        self.layers = nn.ModuleList(
            [nn.Conv2d(inputs, outputs, side, padding=side // 2) for inputs, outputs, side in layer_sizes(options)]
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        with torch.no_grad():  # three components of different widths at the mean
            bias = last.bias.view(options.channels, 3, COMPONENTS)  # type: ignore[union-attr]
            bias.zero_()
            bias[:, 2] = torch.tensor([1.0, 0.0, -1.5])

    def forward(self, features: Tensor) -> Tensor:
        """Map integers (B, 3C, H, W) to logits, shifts and log2-scales (B, C, 3, components, H, W)."""
        h = features / INPUT
        for layer in self.layers[:-1]:
            h = layer(h).clamp(0, LARGEST_VALUE / 2**VALUE_BITS)
        h = self.layers[-1](h)
        return h.unflatten(1, (self.options.channels, 3, COMPONENTS))  # type: ignore[no-any-return]


def features(center: Tensor, x: Tensor, known: Tensor, levels: int) -> Tensor:
    """Return the network's input (B, 3C, H, W), integers: the rounded xhat_0, the known pixels, and which are known.

    Args:
        center: (B, C, H, W) int64, in half levels.
        x: (B, C, H, W) levels; ignored where unknown.
        known: (C, H, W) or (B, C, H, W) bool.
        levels: K.
    """
    seen = known.expand_as(center).long()
    return torch.cat([center - (levels - 1), (HALVES * x.long() - center) * seen, INPUT * seen], 1)


class IntegerNetwork:
    """The same network in integers, stored as float64: exact in any order of the sums.

    Attributes:
        options: its size.
        weights, biases: of each layer, integers.
    """

    def __init__(self, options: PixelOptions, weights: list[Tensor], biases: list[Tensor]) -> None:
        self.options, self.weights, self.biases = options, weights, biases

    @classmethod
    def of(cls, network: PixelNetwork) -> "IntegerNetwork":
        """Round the weights and biases of a trained network."""
        weights, biases = [], []
        for place, layer in enumerate(network.layers):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            unit = INPUT if place == 0 else 2**VALUE_BITS  # the integer that stands for 1 in the layer's input
            weights.append((layer.weight.detach().double() * 2**WEIGHT_BITS).round())
            biases.append((layer.bias.detach().double() * 2**WEIGHT_BITS * unit).round())
        return cls(network.options, weights, biases)

    def __call__(self, numbers: Tensor) -> NDArray[np.int64]:
        """Map integers (B, 3C, H, W) to (B, C, 3, components, H, W) int64, in units of 1/256."""
        h, unit = numbers.double(), INPUT
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = (_convolved(h, weight) + bias[:, None, None]).mul(2**VALUE_BITS / (unit * 2**WEIGHT_BITS)).floor()
            if place < len(self.weights) - 1:
                h = h.clamp(0, LARGEST_VALUE)
            unit = 2**VALUE_BITS
        output: NDArray[np.int64] = h.long().unflatten(1, (self.options.channels, 3, COMPONENTS)).numpy()
        return output


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve as one matrix product: a library may choose Winograd or Fourier for a convolution, which are inexact."""
    size = weight.shape[2]
    if size == 1:
        mixed: Tensor = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x)
        return mixed
    patches = F.unfold(x, size, padding=size // 2)  # B, C * size^2, HW
    summed: Tensor = (weight.flatten(1) @ patches).unflatten(2, x.shape[2:])
    return summed
