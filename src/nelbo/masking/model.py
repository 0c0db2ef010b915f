"""p(x_0) of colour photographs of any size, unmasked pass by pass: all in integers, the same on every machine."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion.passes import Pass
from nelbo.display import Brief
from nelbo.masking.context import NUM_LEVELS, Context, context_of
from nelbo.masking.order import WINDOW, level_of, place_of, step_of
from nelbo.networks.context_network import ExactContextNetwork
from nelbo.networks.integers import require_exact
from nelbo.probability.integer_tables import LEAST_SCALE, SCALES_AN_OCTAVE
from nelbo.probability.logistic import LogisticMixture


@dataclass(frozen=True, eq=False)
class MaskingModel(Brief):
    """The reverse of a process that masks pixels.

    Attributes:
        linear: (steps, 49 C) int64, the linear prediction at each step, in units of 2^-12.
        network: gives the mixture around it.
    """

    linear: Tensor
    network: ExactContextNetwork

    @property
    def channels(self) -> int:
        """C."""
        return self.linear.shape[1] // WINDOW**2

    def require_exact(self) -> None:
        """Check that this machine computes the network exactly; see `nelbo.networks.integers.require_exact`."""
        require_exact(self.network.layers)

    @torch.no_grad()
    def mixture(self, x: Tensor, known: Tensor, now: Pass) -> LogisticMixture:
        """Return the distributions of the pixels of a pass of one picture, row by row.

        Args:
            x: (C, H, W) int64 levels; ignored where unknown.
            known: (C, H, W) bool.
            now: the pass.
        """
        level, place = level_of(now), place_of(now)
        grid, seen = (values[None, :, :: 1 << level, :: 1 << level] for values in (x, known))
        context = context_of(grid, seen, place, now.channel)
        step = step_of(level, place, now.channel, self.channels)
        prediction = context.predicted(self.linear[step])
        output = self.network(context.numbers(prediction), step)
        return _mixture(output, context, prediction)


def _mixture(output: Tensor, context: Context, prediction: Tensor) -> LogisticMixture:
    """Return the mixtures of the network's output (n, 3, components), which is in units of 1/64."""
    logit, shift, scale = output.unbind(1)
    octave = context.octave[:, None]
    mean = prediction[:, None] + ((shift << octave + 1) >> 1) >> 2  # from 1/64 to 1/16 of a level
    index = (scale + 4 >> 3) + SCALES_AN_OCTAVE * (octave - LEAST_SCALE)
    return LogisticMixture.of(4 * logit.numpy(), mean.numpy(), index.numpy(), NUM_LEVELS)
