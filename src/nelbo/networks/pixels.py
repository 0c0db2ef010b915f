"""The pixel network, which gives each unknown pixel a distribution, in floats for training and in integers for coding.

It reads the rounded evidence and the pixels that are known already, and returns the parameters of a mixture of logistic
distributions. Without blocks, it is the plain network of format version 1: three convolutions that return them for
every pixel. With residual blocks, it is a multilayer perceptron of the window around a pixel, and runs for the pixels
of one pass. In convolved blocks, such a pixel also reads the hidden values of its eight neighbours in the pass, and so
what is known far around it.

The integers stay below 2^53, and float64 holds their products and sums exactly in any order, so every machine computes
the same values.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixel_windows import INPUT, SHIFT, Place, relative, windows

COMPONENTS = 3
WEIGHT_BITS, VALUE_BITS, LARGEST_VALUE = 12, 8, 1 << 14
LIMIT = LARGEST_VALUE / 2**VALUE_BITS  # of a hidden value, as a float


class CodingNetwork(Protocol):
    """A pixel network in integers: `IntegerNetwork` or `nelbo.networks.exact_pixels.ExactPixelNetwork`."""

    @property
    def options(self) -> PixelOptions: ...

    def __call__(self, numbers: Tensor, place: Place) -> NDArray[np.int64]:
        """Map integers (B, I, H, W) to the outputs of a pass: (B, 3, components, h, w) int64, unit 1/256."""


def weight_shapes(options: PixelOptions) -> list[tuple[int, ...]]:
    """Return the shape of each layer's weights: (out, in, side, side) of a convolution, else (out, in)."""
    inputs, hidden, outputs = options.inputs, options.hidden, 3 * COMPONENTS * options.channels
    if options.blocks == 0:
        return [(hidden, inputs, 5, 5), (hidden, hidden, 3, 3), (outputs, hidden, 1, 1)]
    inner = list[tuple[int, ...]]()
    for block in range(options.blocks):
        inner += [(hidden, hidden, 3, 3) if options.is_convolved(block) else (hidden, hidden), (hidden, hidden)]
    return [(hidden, options.window_inputs), *inner, (outputs, hidden)]


def run_layers(layer: Callable[[int, Tensor], Tensor], x: Tensor, blocks: int, limit: float) -> Tensor:
    """Run the layers on the input x of the first: (B, I, H, W), or with blocks (B, h, w, window_inputs).

    Args:
        layer: `layer(i, h)` is layer i of h, rounded.
        blocks: residual blocks.
        limit: largest hidden value.
    """
    h = layer(0, x)
    if blocks == 0:
        return layer(2, layer(1, h.clamp(0, limit)).clamp(0, limit))
    for block in range(blocks):  # hardtanh is clamp with a faster gradient
        inner = F.hardtanh(layer(2 * block + 1, F.hardtanh(h, 0, limit)), 0, limit)
        h = F.hardtanh(h + layer(2 * block + 2, inner), -limit, limit)
    return layer(2 * blocks + 1, F.hardtanh(h, 0, limit))


def run_pass(
    layer: Callable[[int, Tensor], Tensor],
    x: Tensor,
    place: Place,
    options: PixelOptions,
    limit: float,
    units: tuple[float, float],
) -> Tensor:
    """Run the network on its input x (B, I, H, W) for the pixels of a pass: (B, 3, components, h, w).

    Args:
        layer: `layer(i, h)` is layer i of h, rounded.
        x: the input.
        place: where the pixels of the pass are.
        options: of the network.
        limit: largest hidden value.
        units: the numbers that stand for 1 in the input and in the output.
    """
    shift = None
    if options.blocks:
        seen = windows(x, place, options)
        if not seen.numel():  # the image is smaller than a square
            return x.new_zeros(len(x), 3, COMPONENTS, *seen.shape[1:3])
        if options.dilated:
            inside = windows(torch.ones_like(x[:1, :1]), place, options)
            read, shift = relative(seen, inside, place, options, units[0])
        else:
            read = seen.flatten(3)
        h = run_layers(layer, read, options.blocks, limit).permute(0, 3, 1, 2)
    else:
        h = run_layers(layer, x, 0, limit)[..., place.row :: options.side, place.column :: options.side]
    shaped: Tensor = h.unflatten(1, (options.channels, 3, COMPONENTS))[:, place.channel]
    if shift is None:
        return shaped
    moved = shift * (INPUT * units[1] / (units[0] * SHIFT))
    return torch.stack([shaped[:, 0], shaped[:, 1] + moved[:, None], shaped[:, 2]], 1)


class PixelNetwork(nn.Module):
    """The network in floats, with the limits of the integers.

    In evaluation mode, hidden values and outputs are rounded as the integers are. With weights from `round_weights`,
    the result is then that of the `IntegerNetwork`, except where float32 loses the digit that decides a rounding.
    """

    def __init__(self, options: PixelOptions) -> None:
        super().__init__()
        self.options = options
        self.layers = nn.ModuleList(
            nn.Conv2d(shape[1], shape[0], shape[2], padding=shape[2] // 2)
            if shape[2:]
            else nn.Linear(shape[1], shape[0])
            for shape in weight_shapes(options)
        )
        for last in self.layers[2::2] if options.blocks else []:  # every block starts as the identity
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        with torch.no_grad():  # three components of different widths at the mean
            bias = last.bias.view(options.channels, 3, COMPONENTS)  # type: ignore[operator]
            bias.zero_()
            for component, width in enumerate((1.0, 0.0, -1.5)):
                bias[:, 2, component] = width

    def forward(self, features: Tensor, place: Place) -> Tensor:
        """Map integers (B, I, H, W) to logits, shifts and log2-scales of a pass: (B, 3, components, h, w)."""
        return run_pass(self._layer, features / INPUT, place, self.options, LIMIT, (1, 1)).float()

    def everywhere(self, features: Tensor) -> Tensor:
        """Map integers (B, I, H, W) to the outputs of all pixels, (B, C, 3, components, H, W), without blocks only."""
        output = run_layers(self._layer, features / INPUT, 0, LIMIT).float()
        shaped: Tensor = output.unflatten(1, (self.options.channels, 3, COMPONENTS))
        return shaped

    def _layer(self, place: int, h: Tensor) -> Tensor:
        layer = self.layers[place]
        moved = self.options.blocks > 0 and isinstance(layer, nn.Conv2d)
        summed: Tensor = layer(h.movedim(3, 1)).movedim(1, 3) if moved else layer(h)
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
            assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
            weights.append((layer.weight.detach().double() * 2**WEIGHT_BITS).round())
            biases.append((layer.bias.detach().double() * 2**WEIGHT_BITS * _unit(place)).round())
        return cls(network.options, weights, biases)

    def __call__(self, numbers: Tensor, place: Place) -> NDArray[np.int64]:
        """Map integers (B, I, H, W) to the outputs of a pass: (B, 3, components, h, w) int64, unit 1/256."""
        h = run_pass(self._layer, numbers.double(), place, self.options, LARGEST_VALUE, (INPUT, 2**VALUE_BITS))
        output: NDArray[np.int64] = h.long().numpy()
        return output

    def everywhere(self, numbers: Tensor) -> NDArray[np.int64]:
        """Map integers (B, I, H, W) to (B, C, 3, components, H, W) int64 for all pixels, without blocks only."""
        h = run_layers(self._layer, numbers.double(), 0, LARGEST_VALUE)
        output: NDArray[np.int64] = h.long().unflatten(1, (self.options.channels, 3, COMPONENTS)).numpy()
        return output

    def _layer(self, place: int, h: Tensor) -> Tensor:
        """Return layer `place` of integers, rounded, in units of 1/256."""
        weight, bias = self.weights[place], self.biases[place]
        if weight.ndim == 2:
            summed = F.linear(h, weight, bias)
        elif self.options.blocks:
            summed = _convolved(h.movedim(3, 1), weight).movedim(1, 3) + bias
        else:
            summed = _convolved(h, weight) + bias[:, None, None]
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
    patches = F.unfold(x, size, padding=size // 2)  # B, C * size^2, H * W
    summed: Tensor = (weight.flatten(1) @ patches).unflatten(2, x.shape[2:])
    return summed
