"""The pixel network, which gives each unknown pixel a distribution, in floats for training and in integers for coding.

It reads the rounded evidence (xhat_0, and x_1 too if it has residual blocks) and the pixels that are known already, and
returns the parameters of a mixture of logistic distributions for every pixel. The integers stay below 2^53, and float64
holds their products and sums exactly in any order, so every machine computes the same values.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nelbo.networks.pixel_options import PixelOptions

COMPONENTS = 3
WEIGHT_BITS, VALUE_BITS, LARGEST_VALUE = 12, 8, 1 << 14
INPUT = 64  # the integer that stands for 1 in the network's input
LIMIT = LARGEST_VALUE / 2**VALUE_BITS  # of a hidden value, as a float


def layer_sizes(options: PixelOptions) -> list[tuple[int, int, int]]:
    """Return (input features, output features, kernel side) of each convolution."""
    channels, hidden = options.channels, options.hidden
    inner = [(hidden, hidden, 3)] * (2 * options.blocks or 1)
    return [((4 if options.reads_x_1 else 3) * channels, hidden, 5), *inner, (hidden, 3 * COMPONENTS * channels, 1)]


def run_layers(layer: Callable[[int, Tensor], Tensor], x: Tensor, blocks: int, limit: float) -> Tensor:
    """Run the network on its input x (B, 3C or 4C, H, W).

    Args:
        layer: `layer(i, h)` is convolution i of h, rounded.
        blocks: residual blocks.
        limit: largest hidden value.
    """
    h = layer(0, x)
    if blocks == 0:
        return layer(2, layer(1, h.clamp(0, limit)).clamp(0, limit))
    for block in range(blocks):
        inner = layer(2 * block + 1, h.clamp(0, limit)).clamp(0, limit)
        h = (h + layer(2 * block + 2, inner)).clamp(-limit, limit)
    return layer(2 * blocks + 1, h.clamp(0, limit))


class PixelNetwork(nn.Module):
    """The network in floats, with the limits of the integers.

    In evaluation mode, hidden values and outputs are rounded as the integers are. With weights from `round_weights`,
    the result is then that of the `IntegerNetwork`, except where float32 loses the digit that decides a rounding.
    """

    def __init__(self, options: PixelOptions) -> None:
        super().__init__()
        self.options = options
        self.layers = nn.ModuleList(
            [nn.Conv2d(inputs, outputs, side, padding=side // 2) for inputs, outputs, side in layer_sizes(options)]
        )
        for last in self.layers[2::2] if options.blocks else []:  # every block starts as the identity
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        with torch.no_grad():  # three components of different widths at the mean
            bias = last.bias.view(options.channels, 3, COMPONENTS)  # type: ignore[union-attr]
            bias.zero_()
            bias[:, 2] = torch.tensor([1.0, 0.0, -1.5])

    def forward(self, features: Tensor) -> Tensor:
        """Map integers (B, 3C or 4C, H, W) to logits, shifts and log2-scales (B, C, 3, components, H, W)."""
        output = run_layers(self._layer, features / INPUT, self.options.blocks, LIMIT).float()
        shaped: Tensor = output.unflatten(1, (self.options.channels, 3, COMPONENTS))
        return shaped

    def _layer(self, place: int, h: Tensor) -> Tensor:
        summed: Tensor = self.layers[place](h)
        if self.training:
            return summed
        rounded: Tensor = (summed * 2**VALUE_BITS).add(_half(self.options)).floor().div(2**VALUE_BITS)
        return rounded

    @torch.no_grad()
    def round_weights(self) -> None:
        """Round the weights and biases to those of the `IntegerNetwork`."""
        for place, layer in enumerate(self.layers):
            for values, unit in ((layer.weight, 2**WEIGHT_BITS), (layer.bias, 2**WEIGHT_BITS * _unit(place))):
                values.copy_((values.double() * unit).round() / unit)  # type: ignore[operator]


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
            weights.append((layer.weight.detach().double() * 2**WEIGHT_BITS).round())
            biases.append((layer.bias.detach().double() * 2**WEIGHT_BITS * _unit(place)).round())
        return cls(network.options, weights, biases)

    def __call__(self, numbers: Tensor) -> NDArray[np.int64]:
        """Map integers (B, 3C or 4C, H, W) to (B, C, 3, components, H, W) int64, in units of 1/256."""
        h = run_layers(self._layer, numbers.double(), self.options.blocks, LARGEST_VALUE)
        output: NDArray[np.int64] = h.long().unflatten(1, (self.options.channels, 3, COMPONENTS)).numpy()
        return output

    def _layer(self, place: int, h: Tensor) -> Tensor:
        """Return convolution `place` of integers, rounded, in units of 1/256."""
        summed = _convolved(h, self.weights[place]) + self.biases[place][:, None, None]
        return summed.mul(2**VALUE_BITS / (_unit(place) * 2**WEIGHT_BITS)).add(_half(self.options)).floor()


def _unit(place: int) -> int:
    """Return the integer that stands for 1 in the input of a layer."""
    return INPUT if place == 0 else 2**VALUE_BITS


def _half(options: PixelOptions) -> float:
    """Return what is added before rounding down: the plain network of format version 1 rounds down."""
    return 0.5 if options.blocks else 0.0


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve as one matrix product: a library may choose Winograd or Fourier for a convolution, which are inexact."""
    size = weight.shape[2]
    if size == 1:
        mixed: Tensor = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x)
        return mixed
    patches = F.unfold(x, size, padding=size // 2)  # B, C * size^2, HW
    summed: Tensor = (weight.flatten(1) @ patches).unflatten(2, x.shape[2:])
    return summed
