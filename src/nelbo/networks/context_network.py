"""A multilayer perceptron of integers that turns what surrounds a pixel into a mixture of logistic distributions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nelbo.errors import ConfigurationError
from nelbo.networks.integers import UNIT, IntegerConv, RoundedConv
from nelbo.networks.pixels import COMPONENTS, run_layers
from nelbo.options import Annotated, Doc, check_types

LARGEST_INPUT, LARGEST_HIDDEN = 255, (1 << 10) - 1
WIDTHS = (0.0, -1.5, -3.0)  # log2 of the components' scales at first


@dataclass(frozen=True)
class ContextOptions:
    """Size of a context network.

    Raises:
        ConfigurationError: a value outside its range.
    """

    inputs: Annotated[int, Doc("Numbers that the network reads for a pixel.")]
    steps: Annotated[int, Doc("Steps with biases of their own in the first layer.")] = 1
    hidden: Annotated[int, Doc("Features of each hidden layer.")] = 160
    blocks: Annotated[int, Doc("Residual blocks of two layers.")] = 3

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("inputs", "steps", "hidden", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"the {name} of a context network must be at least 1, got {getattr(self, name)}."
                )


def layer_shapes(options: ContextOptions) -> list[tuple[tuple[int, int, int], dict[str, int]]]:
    """Return the (O, I, 1) of each layer, with its limit and its number of biases."""
    hidden, behind = options.hidden, {"limit": LARGEST_HIDDEN, "steps": 1}
    first = (hidden, options.inputs, 1), {"limit": LARGEST_INPUT, "steps": options.steps}
    inner = [((hidden, hidden, 1), behind)] * (2 * options.blocks)
    return [first, *inner, ((3 * COMPONENTS, hidden, 1), behind)]


def _run(layer: Callable[[int, Tensor], Tensor], x: Tensor, options: ContextOptions) -> Tensor:
    """Map integers (n, I) to logits, shifts and log2-scales (n, 3, components) in units of 1/64."""
    output: Tensor = run_layers(layer, x, options.blocks, LARGEST_HIDDEN).unflatten(1, (3, COMPONENTS))
    return output


class ContextNetwork(nn.Module):
    """The network in training, with rounded weights; `exact` gives the one that codes."""

    def __init__(self, options: ContextOptions) -> None:
        super().__init__()
        self.options = options
        shapes = layer_shapes(options)
        zero = {*range(2, len(shapes), 2), len(shapes) - 1}  # every block starts as the identity
        self.layers = nn.ModuleList(
            RoundedConv(shape, settings["limit"], steps=settings["steps"], zero=place in zero)
            for place, (shape, settings) in enumerate(shapes)
        )
        with torch.no_grad():
            self.layers[-1].bias.view(3, COMPONENTS)[2] = torch.tensor(WIDTHS)  # type: ignore[operator]

    def forward(self, numbers: Tensor, step: int) -> Tensor:
        """Map integers (n, I) of a step to logits, shifts and log2-scales (n, 3, components)."""
        layer = lambda i, h: self.layers[i].rows(h, step)  # type: ignore[operator]  # noqa: E731
        return _run(layer, numbers, self.options).div(UNIT)

    def exact(self) -> "ExactContextNetwork":
        """Return the network in integers."""
        return ExactContextNetwork(self.options, [layer.exact() for layer in self.layers])  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class ExactContextNetwork:
    """The network in integers, exact on every device.

    Attributes:
        options: its size.
        layers: in order.
    """

    options: ContextOptions
    layers: list[IntegerConv]

    @torch.no_grad()
    def __call__(self, numbers: Tensor, step: int) -> Tensor:
        """Map integers (n, I), float32, of a step to (n, 3, components) int64 in units of 1/64."""
        return _run(lambda i, h: self.layers[i].rows(h, step), numbers, self.options).long()
