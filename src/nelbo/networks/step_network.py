"""The network of an integer chain: a small U-Net of integer convolutions, with a bias for each step of the chain.

It has no normalisation, no attention and no function of t that a machine could round differently.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.errors import ConfigurationError
from nelbo.networks.integers import IntegerConv, RoundedConv
from nelbo.options import Annotated, Doc, check_types

LARGEST_INPUT = 255
LARGEST_HIDDEN = (1 << 10) - 1  # of the input of a convolution, as an integer: 16 units
LARGEST_STREAM = (1 << 11) - 1  # of the residual stream
INPUTS = 3  # for each channel: the linear estimate of x_0, y_t, and which pixels are known
OUTPUTS = 2  # for each channel: the correction of xhat_0, and that of the log scale


@dataclass(frozen=True)
class StepOptions:
    """Size of the network of an integer chain.

    Raises:
        ConfigurationError: a value outside its range.
    """

    channels: Annotated[int, Doc("Channels of the image.")] = 1
    steps: Annotated[int, Doc("Places where the network is called, each with its own biases.")] = 8
    widths: Annotated[tuple[int, ...], Doc("Features of each level; each further level halves both sides.")] = (
        32,
        64,
        128,
    )
    bottom: Annotated[int, Doc("Residual blocks at the bottom; at each level there is one going down, and two up.")] = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON has only lists
        check_types(self)
        for name in ("channels", "steps", "bottom"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"the {name} of a step network must be at least 1, got {getattr(self, name)}.")
        if not self.widths or min(self.widths) < 1:
            raise ConfigurationError(f"the widths of a step network must be positive, got {self.widths}.")

    @property
    def halvings(self) -> int:
        """How often both sides are halved."""
        return len(self.widths) - 1


def layer_shapes(options: StepOptions) -> dict[str, tuple[tuple[int, int, int], dict[str, int]]]:
    """Return the (O, I, k) of each layer by name, with its limit, number of biases and stride."""
    widths, steps = options.widths, options.steps
    hidden, stream = {"limit": LARGEST_HIDDEN}, {"limit": LARGEST_STREAM}
    found = {"input": ((widths[0], INPUTS * options.channels, 3), {"limit": LARGEST_INPUT, "steps": steps})}
    for name, width in block_names(options):
        found[f"{name}.first"] = (width, width, 3), {**hidden, "steps": steps}
        found[f"{name}.second"] = (width, width, 3), dict(hidden)
    for level, (wide, deep) in enumerate(pairwise(widths)):
        found[f"halve.{level}"] = (deep, wide, 2), {**stream, "stride": 2}
        found[f"double.{level}"] = (wide, deep, 1), dict(hidden)
    found["output"] = (OUTPUTS * options.channels, widths[0], 3), {**hidden, "steps": steps}
    return found


def block_names(options: StepOptions) -> list[tuple[str, int]]:
    """Return the name and the width of each residual block."""
    *levels, bottom = enumerate(options.widths)
    down = [(f"down.{level}", width) for level, width in levels]
    up = [(f"up.{level}.{i}", width) for level, width in levels for i in range(2)]
    return [*down, *((f"bottom.{i}", bottom[1]) for i in range(options.bottom)), *up]


def run_network(layer: Callable[[str, Tensor], Tensor], x: Tensor, options: StepOptions) -> Tensor:
    """Run the network on its input (B, 3C, H, W), in units of 1/64.

    Args:
        layer: `layer(name, h)` is a convolution of h.

    Returns:
        (B, 2C, H, W): for each channel the correction of xhat_0, then for each channel that of the log scale.
    """

    def block(name: str, h: Tensor) -> Tensor:
        inner = F.hardtanh(layer(f"{name}.first", F.hardtanh(h, 0, LARGEST_HIDDEN)), 0, LARGEST_HIDDEN)
        return F.hardtanh(h + layer(f"{name}.second", inner), -LARGEST_STREAM, LARGEST_STREAM)

    h, skips = F.hardtanh(layer("input", x), -LARGEST_STREAM, LARGEST_STREAM), list[Tensor]()
    for level in range(options.halvings):
        skips.append(block(f"down.{level}", h))
        h = F.hardtanh(layer(f"halve.{level}", skips[-1]), -LARGEST_STREAM, LARGEST_STREAM)
    for i in range(options.bottom):
        h = block(f"bottom.{i}", h)
    for level in reversed(range(options.halvings)):
        wide = layer(f"double.{level}", F.hardtanh(h, 0, LARGEST_HIDDEN))
        doubled = wide.repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = F.hardtanh(skips[level] + doubled, -LARGEST_STREAM, LARGEST_STREAM)
        for i in range(2):
            h = block(f"up.{level}.{i}", h)
    return layer("output", F.hardtanh(h, 0, LARGEST_HIDDEN))


class StepNetwork(nn.Module):
    """The network in training, with rounded weights; `exact` gives the one that codes."""

    def __init__(self, options: StepOptions) -> None:
        super().__init__()
        self.options = options
        self.layers = nn.ModuleDict(
            {
                _key(name): RoundedConv(shape, **settings, zero=name.endswith(".second") or name == "output")
                for name, (shape, settings) in layer_shapes(options).items()
            }
        )

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Map the input (B, 3C, H, W) at each example's step (B,), from 0, to the output; see `run_network`."""
        return run_network(lambda name, h: self.layers[_key(name)](h, step), x, self.options)

    def exact(self) -> "IntegerStepNetwork":
        """Return the network in integers."""
        layers = {name: self.layers[_key(name)].exact() for name in layer_shapes(self.options)}  # type: ignore[operator]
        return IntegerStepNetwork(self.options, layers)


@dataclass(frozen=True, eq=False)
class IntegerStepNetwork:
    """The network in integers, exact on every device.

    Attributes:
        options: its size.
        layers: by name.
    """

    options: StepOptions
    layers: dict[str, IntegerConv]

    def __call__(self, x: Tensor, step: int) -> Tensor:
        """Map integers (B, 3C, H, W), float32, at a step, from 0, to integers (B, 2C, H, W); see `run_network`."""
        return run_network(lambda name, h: self.layers[name](h, step), x, self.options)


def _key(name: str) -> str:
    return name.replace(".", "_")  # a module's name has no dot
