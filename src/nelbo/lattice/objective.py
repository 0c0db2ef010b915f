"""Training of the network of an integer chain on the bound: KL(q(y_{t-1}|y_t, x_0) || p(y_{t-1}|y_t)) at one t each."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion.passes import walk
from nelbo.lattice.chain import LinearModel, centred, simulate
from nelbo.networks.integers import UNIT
from nelbo.objective import NATS, Draws, Losses
from nelbo.probability.integer_gaussian import SCALES, SCALES_AN_OCTAVE

LARGEST_SCALE = (SCALES - 1) / SCALES_AN_OCTAVE
ROUNDED_AWAY = 1 / (2 * SCALES_AN_OCTAVE)  # of a log scale on average, because the chain rounds it down
OF_Q = 2.0  # variance of q(y_{t-1}|y_t, x_0), the least of p


@dataclass
class ChainObjective:
    """The KL of one step of the chain for each image, times the number of places of the network, nats per dimension.

    At t = 1, the step would lead to a chain whose noise has half the variance: it trains the estimate on which the
    pixels depend, with a part of the pixels known. The mean over the places is therefore not the bound, but the bound
    falls with it.

    Attributes:
        linear: of the chain.
        side: of the squares whose pixels become known one by one.
    """

    linear: LinearModel
    side: int

    def __post_init__(self) -> None:
        masks = [(now.stage, known) for known, now in walk(tuple(self.linear.mean.shape), self.side)]
        self.known = torch.stack([next(known for at, known in masks if at == stage) for stage in range(self.stages)])

    @property
    def stages(self) -> int:
        """The number of stages at t = 1."""
        return self.linear.stages

    def to(self, device: torch.device) -> None:
        """Move the tables to a device."""
        self.linear, self.known = self.linear.to(device), self.known.to(device)

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw the noise of all steps, and a place of the network evenly over the batch."""
        places = self.stages + self.linear.steps - 1
        first = torch.rand(1, generator=generator)
        place = ((torch.arange(num) + first) / num * places).long().clamp(max=places - 1)
        return {"noise": torch.randn(num, self.linear.steps, *shape, generator=generator), "place": place}

    def __call__(
        self, network: Callable[..., Tensor], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the losses of images (B, C, H, W) of levels; no class is used."""
        linear, place = self.linear, draws["place"]
        t, stage = (place - self.stages + 2).clamp(min=1), place.clamp(max=self.stages - 1)
        x_0 = centred(images, linear.levels)
        chain = simulate(x_0, linear.spacing, draws["noise"].unbind(1))
        y = torch.stack(chain, 1)[torch.arange(len(t)), t - 1]
        known = self.known[stage] & (t == 1).view(-1, 1, 1, 1)
        guess = torch.where(known, x_0, linear.estimate(y, t))
        shift, octaves = network(linear.inputs(y, guess, known), place).chunk(2, 1)
        error = (x_0 - guess - shift) / (linear.spacing * 2.0 ** (t / 2)).view(-1, 1, 1, 1)
        found = linear.scale[t - 1] / SCALES_AN_OCTAVE + octaves / UNIT - ROUNDED_AWAY
        octaves = Clamped.apply(found)  # type: ignore[no-untyped-call]
        places = self.stages + linear.steps - 1
        nats = (step_kl(error, octaves) * ~known).flatten(1).mean(1) * places
        return Losses(nats, nats.detach(), place / places, unit=NATS)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Do nothing: t is drawn evenly."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the objective has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""


class Clamped(torch.autograd.Function):
    """Log scales clamped to those that exist; beyond the limits, a gradient that leads back passes."""

    @staticmethod
    def forward(ctx: Any, octaves: Tensor) -> Tensor:
        """Return the clamped values."""
        ctx.save_for_backward(octaves)
        return octaves.clamp(0, LARGEST_SCALE)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient, or 0 where a step along it would lead further away."""
        (octaves,), (gradient,) = ctx.saved_tensors, gradients
        away = ((octaves < 0) & (gradient > 0)) | ((octaves > LARGEST_SCALE) & (gradient < 0))
        return gradient.masked_fill(away, 0)


def step_kl(error: Tensor, octaves: Tensor) -> Tensor:
    """Return KL(N(error, 2) || N(0, 2 * 4^octaves)), nats."""
    return octaves * math.log(2) + (1 + error.square() / OF_Q) / (2 * 4.0**octaves) - 1 / 2
