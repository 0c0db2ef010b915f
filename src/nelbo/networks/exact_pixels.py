"""The pixel network of an integer model: that of `nelbo.networks.pixels` with residual blocks, exact in float32.

Its weights have 8 bits, and its values are in units of 1/64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nelbo.networks.integers import UNIT, IntegerConv, RoundedConv
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixel_windows import INPUT, Place, largest_input
from nelbo.networks.pixels import COMPONENTS, run_pass, weight_shapes

LARGEST_HIDDEN = (1 << 10) - 1
OUTPUT_UNIT = 256 // UNIT  # the unit of the mixtures' parameters is 1/256


def layer_shapes(options: PixelOptions) -> list[tuple[tuple[int, int, int], int]]:
    """Return the (O, I, k) of each layer, and the largest absolute value of its input."""
    shapes = [(out, into, side[0] if side else 1) for out, into, *side in weight_shapes(options)]
    return [(shape, LARGEST_HIDDEN if place else largest_input(options)) for place, shape in enumerate(shapes)]


class RoundedPixelNetwork(nn.Module):
    """The network in training, with rounded weights; it has the interface of `nelbo.networks.PixelNetwork`."""

    def __init__(self, options: PixelOptions) -> None:
        super().__init__()
        self.options = options
        shapes = layer_shapes(options)
        zero = {*range(2, len(shapes), 2), len(shapes) - 1}  # every block starts as the identity
        self.layers = nn.ModuleList(
            RoundedConv(shape, limit, zero=place in zero) for place, (shape, limit) in enumerate(shapes)
        )
        with torch.no_grad():  # three components of different widths at the mean
            bias = self.layers[-1].bias.view(options.channels, 3, COMPONENTS)  # type: ignore[operator]
            for component, width in enumerate((1.0, 0.0, -1.5)):
                bias[:, 2, component] = width

    def forward(self, features: Tensor, place: Place) -> Tensor:
        """Map integers (B, I, H, W) to logits, shifts and log2-scales of a pass: (B, 3, components, h, w)."""
        layer = lambda i, h: self.layers[i].pixels(h)  # type: ignore[operator]  # noqa: E731
        return run_pass(layer, features, place, self.options, LARGEST_HIDDEN, (INPUT, UNIT)).div(UNIT)

    def exact(self) -> "ExactPixelNetwork":
        """Return the network in integers."""
        return ExactPixelNetwork(self.options, [layer.exact() for layer in self.layers])  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class ExactPixelNetwork:
    """The network in integers, exact on every device; it has the interface of `nelbo.networks.IntegerNetwork`.

    Attributes:
        options: its size.
        layers: in order.
    """

    options: PixelOptions
    layers: list[IntegerConv]

    @torch.no_grad()
    def __call__(self, numbers: Tensor, place: Place) -> NDArray[np.int64]:
        """Map integers (B, I, H, W) to the outputs of a pass: (B, 3, components, h, w) int64, unit 1/256."""
        layer = lambda i, h: self.layers[i].pixels(h)  # noqa: E731
        output = run_pass(layer, numbers.float(), place, self.options, LARGEST_HIDDEN, (INPUT, UNIT))
        found: NDArray[np.int64] = (OUTPUT_UNIT * output.long()).numpy()
        return found
