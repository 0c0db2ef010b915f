"""Training of the network of a masking process: -log p of the pixels that some passes unmask."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion.pixel_decoder import log2_masses
from nelbo.masking.context import NUM_LEVELS, PARTS, Context, context_of
from nelbo.masking.order import FROM_COARSER, PLACES, SIDE, known_pattern, step_of
from nelbo.objective import NATS, Draws, Losses

TRAINED = 4  # levels that a crop holds; the further ones have the parameters of the third
SMALLEST_CROP = 3 * SIDE << TRAINED - 1  # pixels: squares at the edges are left out
SHARES = (3 / 4, 3 / 16, 3 / 64, 1 / 64)  # of the pixels
DRAWN = (0.6, 0.24, 0.1, 0.06)  # how often a step trains each level: the coarse ones more often than their share
LARGEST = 80  # pixels of a crop's grid on each side, which the time of a step is proportional to


@dataclass
class MaskingObjective:
    """-log p(x_0), nats per dimension, estimated from a few passes of one level.

    The choice of level and passes adds no bias. The mean differs slightly from the bits of a file: values are not
    rounded, a level has a mass of at least 2^-16 and not 2^-24, and the passes without a coarser grid are trained on a
    grid that is finer than that of a file. Pixels near the edge of a crop are left out, because most pixels of a
    picture are far from its edges.

    Attributes:
        linear: (steps, 49 C) int64, see `MaskingModel`.
        draws: passes of a step.
    """

    linear: Tensor
    draws: int = 2

    def to(self, device: torch.device) -> None:
        """Move the coefficients to a device."""
        self.linear = self.linear.to(device)

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw a level, the place of the first pass, and where the grid begins, the same for all examples.

        Returns:
            "level" int64, and "first", "row" and "column" within [0, 1), each (num,).
        """
        level = torch.multinomial(torch.tensor(DRAWN), 1, generator=generator)
        uniforms = {name: torch.rand(1, generator=generator).expand(num) for name in ("first", "row", "column")}
        return {"level": level.expand(num), **uniforms}

    def __call__(
        self, network: Callable[..., Tensor], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the estimate for crops (B, C, H, W) of 256 levels; no class is used."""
        level, channels = int(draws["level"][0]), images.shape[1]
        grid = grid_of(images, level, float(draws["row"][0]), float(draws["column"][0]))
        passes = passes_of(level, channels)
        every = max(len(passes) // self.draws, 1)
        chosen = passes[int(float(draws["first"][0]) * every) :: every]
        bits = torch.zeros(len(images), device=images.device)
        for place, channel in chosen:
            context, x = interior(grid, place, channel)
            bits = bits - self._log2_masses(network, context, x, level, place, channels).view(len(bits), -1).mean(1)
        nats = math.log(2) * bits * every / len(passes)  # each pass is taken with a probability of 1 / every
        # `loss` is of this level; its mean with these weights is that of all pixels
        return Losses(nats * (SHARES[level] / DRAWN[level]), nats.detach(), unit=NATS)

    def _log2_masses(
        self, network: Callable[..., Tensor], context: Context, x: Tensor, level: int, place: int, channels: int
    ) -> Tensor:
        """Return log2 of the masses of levels x (n,)."""
        step = step_of(level, place, context.channel, channels)
        prediction = context.predicted(self.linear[step])
        logit, shift, scale = network(context.numbers(prediction), step).unbind(1)
        octave = context.octave[:, None]
        mean = prediction[:, None] / PARTS + shift * torch.exp2(octave.float())
        # `log2_masses` counts shifts in 4 levels from a middle, here 0, and scales from 2 levels
        output = torch.stack([logit, mean / 4, scale + octave - 1]).mT[:, :, None]  # 3, components, 1, n
        return log2_masses(output, torch.zeros_like(x)[None], x[None], NUM_LEVELS).flatten()

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Do nothing: the passes are drawn evenly."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the objective has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""


def passes_of(level: int, channels: int) -> list[tuple[int, int]]:
    """Return the (place, channel) of the passes of a level in training; the last one has those of the coarsest grid."""
    first = 0 if level == TRAINED - 1 else FROM_COARSER
    return [(place, channel) for place in range(first, len(PLACES)) for channel in range(channels)]


def grid_of(crops: Tensor, level: int, row: float, column: float) -> Tensor:
    """Return a grid of crops (B, C, H, W): pixels 2^level apart, at most 80 x 80 of them, from a random place on.

    Args:
        crops: (B, C, H, W).
        level: see `MaskingObjective`.
        row: within [0, 1), of the first row among those that leave enough pixels.
        column: the same of the first column.
    """
    found = crops
    for dim, where in ((2, row), (3, column)):
        num = min(crops.shape[dim] >> level, LARGEST) // SIDE * SIDE
        first = int(where * (crops.shape[dim] - (num - 1 << level)))
        found = found.narrow(dim, first, (num - 1 << level) + 1)
    return found[:, :, :: 1 << level, :: 1 << level].long()


def interior(grid: Tensor, place: int, channel: int) -> tuple[Context, Tensor]:
    """Return the context and the levels (n,) of the pixels of a pass, without the squares at the edges of a grid."""
    batch, channels, height, width = grid.shape
    known = known_pattern(place, channel, channels).repeat(1, height // SIDE, width // SIDE)
    inside = torch.zeros(batch, height // SIDE, width // SIDE, dtype=torch.bool, device=grid.device)
    inside[:, 1:-1, 1:-1] = True
    row, column = PLACES[place]
    x = grid[:, channel, row::SIDE, column::SIDE][inside]
    return context_of(grid, known.to(grid.device), place, channel).at(inside.flatten()), x
