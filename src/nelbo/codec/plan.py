"""The codec plan of a diffusion model: which steps are sent, its channel, and the network of the exact pixels."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from nelbo.codec.channel_plan import INTEGER, REMEDY, ChannelPlan, stored
from nelbo.errors import ConfigurationError, RunError
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixel_windows import largest_input
from nelbo.networks.pixels import LARGEST_VALUE, IntegerNetwork, weight_shapes

EXACT = float(1 << 53)  # every integer up to here is a float64


@dataclass(frozen=True, eq=False, kw_only=True)
class CodecPlan(ChannelPlan):
    """The plan that sender and receiver share: `fit_plan` measures it on training data.

    It is stored beside the weights and is a part of the model's fingerprint.

    Attributes:
        steps: (k + 1,) int64, the network's own times that are kept, rising; the last is T. The channel sends k steps,
            and x_0 is encoded given x at steps[0]. Row j of `expected` is the step that ends at steps[j].
        pixels: the network of the lossless end.
    """

    steps: Tensor
    pixels: IntegerNetwork

    def tensors(self) -> dict[str, Tensor]:
        """Return the plan as int32 tensors by name."""
        named = {"steps": self.steps, "pixels": torch.tensor(_sizes(self.pixels.options))}
        named |= {_name("weight", layer): weight for layer, weight in enumerate(self.pixels.weights)}
        named |= {_name("bias", layer): bias for layer, bias in enumerate(self.pixels.biases)}
        return {**super().tensors(), **{name: value.to(INTEGER) for name, value in named.items()}}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "CodecPlan":
        """Build the plan from the output of `tensors`.

        Raises:
            RunError: a tensor is missing, or has an unexpected shape, dtype or value; the message names it.
        """
        steps = stored(tensors, "steps", (None,))
        if len(steps) < 2 or int(steps[0]) < 1 or not bool((steps.diff() > 0).all()):
            raise RunError(f"the codec plan's tensor steps must rise from 1 or more, got {steps.tolist()}; {REMEDY}")
        stored(tensors, "expected", (len(steps) - 1, None))  # a row for each step that is sent
        channel = ChannelPlan.from_tensors(tensors)
        sizes = stored(tensors, "pixels", (None,)).tolist()
        try:
            options = PixelOptions(*sizes)
        except (ConfigurationError, TypeError) as error:
            raise RunError(f"the codec plan's tensor pixels is {sizes}, which is no network; {REMEDY}") from error
        weights, biases = [], []
        for layer, shape in enumerate(weight_shapes(options)):
            weights.append(stored(tensors, _name("weight", layer), shape).double())
            biases.append(stored(tensors, _name("bias", layer), shape[:1]).double())
            largest = max(4 * options.levels, largest_input(options)) if layer == 0 else LARGEST_VALUE
            if float((largest * weights[-1].abs().flatten(1).sum(1) + biases[-1].abs()).max()) >= EXACT:
                raise RunError(f"the codec plan's tensor {_name('weight', layer)} has sums beyond 2^53; {REMEDY}")
        return cls(
            **vars(channel),
            steps=steps,
            pixels=IntegerNetwork(options, weights, biases),
        )

    def check_model(self, shape: tuple[int, int, int], levels: int, num_steps: int) -> None:
        """Check that the plan fits a model of images (C, H, W) with K levels and a chain of T steps.

        Raises:
            RunError: it was measured for images of another size, channels or levels, or for another T.
        """
        options = self.pixels.options
        for what, planned, given in (
            ("values in an image", self.expected.shape[1], math.prod(shape)),
            ("channels", options.channels, shape[0]),
            ("levels", options.levels, levels),
            ("steps of the full chain", int(self.steps[-1]), num_steps),
        ):
            if planned != given:
                raise RunError(f"the codec plan is for {planned} {what}, but the model has {given}; {REMEDY}")


def _sizes(options: PixelOptions) -> list[int]:
    """Return the fields of the options, without those that an earlier version did not have if they are the defaults."""
    sizes, defaults = list(astuple(options)), list(astuple(PixelOptions()))
    for earlier in (3, 5, 6):
        if sizes[earlier:] == defaults[earlier:]:
            return sizes[:earlier]
    return sizes


def _name(kind: str, layer: int) -> str:
    return f"pixels.{kind}.{layer}"
