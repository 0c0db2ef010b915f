"""A multilayer perceptron of integers that turns what surrounds a pixel into the masses of its next digit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.errors import ConfigurationError
from nelbo.networks.integers import UNIT, IntegerConv, RoundedConv
from nelbo.networks.pixels import run_layers
from nelbo.options import Annotated, Doc, check_types

LARGEST_INPUT, LARGEST_HIDDEN = 255, (1 << 10) - 1
MOST_BITS = 4  # of a digit


@dataclass(frozen=True)
class DigitOptions:
    """Size of a digit network.

    Raises:
        ConfigurationError: a value outside its range.
    """

    inputs: Annotated[int, Doc("Numbers that the network reads for a pixel.")]
    steps: Annotated[int, Doc("Steps with biases of their own in the first layer.")]
    base: Annotated[int, Doc("Values that a digit can have.")] = 1 << MOST_BITS
    hidden: Annotated[int, Doc("Features of each hidden layer.")] = 64
    blocks: Annotated[int, Doc("Residual blocks of two layers.")] = 2

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("inputs", "steps", "base", "hidden", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"the {name} of a digit network must be at least 1, got {getattr(self, name)}."
                )


def layer_shapes(options: DigitOptions) -> list[tuple[tuple[int, int, int], dict[str, int]]]:
    """Return the (O, I, 1) of each layer, with its limit and its number of biases."""
    hidden, behind = options.hidden, {"limit": LARGEST_HIDDEN, "steps": 1}
    first = (hidden, options.inputs, 1), {"limit": LARGEST_INPUT, "steps": options.steps}
    last = (options.base, hidden, 1), {"limit": LARGEST_HIDDEN, "steps": 1}
    return [first, *[((hidden, hidden, 1), behind)] * (2 * options.blocks), last]


class DigitNetwork(nn.Module):
    """The network in training, with rounded weights; `exact` gives the one that codes."""

    def __init__(self, options: DigitOptions) -> None:
        super().__init__()
        self.options = options
        shapes = layer_shapes(options)
        zero = {*range(2, len(shapes), 2), len(shapes) - 1}  # blocks start as the identity, and masses equal
        self.layers = nn.ModuleList(
            RoundedConv(shape, settings["limit"], steps=settings["steps"], zero=place in zero)
            for place, (shape, settings) in enumerate(shapes)
        )

    def forward(self, numbers: Tensor, step: int) -> Tensor:
        """Map integers (n, I), float32, of a step to logits (n, base), nats."""
        layer: Callable[[int, Tensor], Tensor] = lambda i, h: self.layers[i].rows(h, step)  # type: ignore[operator]  # noqa: E731
        return run_layers(layer, numbers, self.options.blocks, LARGEST_HIDDEN).div(UNIT)

    def exact(self) -> "ExactDigitNetwork":
        """Return the network in integers."""
        layers: list[Any] = [layer.exact() for layer in self.layers]  # type: ignore[operator]
        return ExactDigitNetwork(self.options, layers)


@dataclass(frozen=True, eq=False)
class ExactDigitNetwork:
    """The network in integers, exact on every device.

    Attributes:
        options: its size.
        layers: in order.
    """

    options: DigitOptions
    layers: list[IntegerConv]

    @torch.no_grad()
    def __call__(self, numbers: Tensor, step: int) -> Tensor:
        """Map integers (n, I), float32, of a step to logits (n, base) int64 in units of 1/64 nat."""
        return run_layers(
            lambda i, h: self.layers[i].rows(h, step), numbers, self.options.blocks, LARGEST_HIDDEN
        ).long()
