"""The integer chain: a diffusion model of few steps, whose every number that two machines must share is an integer.

The variance of the noise doubles at each step. With the integer y_t for x_t / sqrt(alphas_bar_t) in units u_t of half
its noise, eq. 2 is

    y_1 = round(x_0 / u_1 + 2 e),  y_t = round(y_{t-1} u_{t-1} / u_t + sqrt(2) e),  e ~ N(0, 1)

and eq. 7 has the mean (u_t y_t + x_0) / 2, halfway between x_t and x_0, and the variance 2 u_{t-1}^2. All masses come
from the integer tables of `nelbo.probability.integer_gaussian`, and xhat_0 from a network of integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.networks.integers import UNIT
from nelbo.networks.step_network import LARGEST_INPUT, IntegerStepNetwork
from nelbo.probability.integer_gaussian import (
    LEAST,
    MEAN_PARTS,
    MOST,
    ROOT_2,
    SCALES,
    SCALES_AN_OCTAVE,
    TWO,
    IntegerGaussian,
)

LINEAR_BITS = 9  # of a coefficient of the linear estimate
PARTS = 16  # of a half level, in which u_t is a whole number


@dataclass(frozen=True, eq=False)
class LinearModel(Brief):
    """The best estimate of x_0 that needs no network: independent pixels with the mean and the variance of the data.

    Values of x_0 are 2 x - (K - 1) for a level x: half levels around the middle.

    Attributes:
        levels: K.
        spacing: u_1 in half levels, a power of two.
        mean: (C, H, W) int64, of x_0.
        coefficient: (k, C, H, W) int64, how much of y_t - mean the estimate keeps, in units of 2^-9.
        scale: (k, C, H, W) int64, the index of the standard deviation of p(y_{t-1}|y_t) with this estimate.
        prior_scale: (C, H, W) int64, the same of p(y_k).
        stages: how often the network estimates x_0 from y_1 again, while pixels become known.
    """

    levels: int
    spacing: int
    mean: Tensor
    coefficient: Tensor
    scale: Tensor
    prior_scale: Tensor
    stages: int

    @classmethod
    def of(cls, levels: int, spacing: int, steps: int, stages: int, mean: Tensor, variance: Tensor) -> "LinearModel":
        """Build it from the mean and variance (C, H, W) of the data, in levels; float64."""
        variance = 4 * variance.double()
        noises = [(2 * unit_of(spacing, t) / PARTS) ** 2 for t in range(steps + 1)]
        kept = [variance / (variance + noise) for noise in noises[1:]]
        errors = [noise * share for noise, share in zip(noises[1:], kept, strict=True)]
        scales = [_scale_of(2 + error / finer) for error, finer in zip(errors, noises[:-1], strict=True)]
        return cls(
            levels,
            spacing,
            (2 * mean.double() - (levels - 1)).round().long(),
            torch.stack([(share * 2**LINEAR_BITS).round().long() for share in kept]),
            torch.stack(scales),
            _scale_of(4 * (1 + variance / noises[-1])),
            stages,
        )

    @property
    def steps(self) -> int:
        """k, the number of steps of the chain."""
        return len(self.coefficient)

    def to(self, device: torch.device) -> "LinearModel":
        """Return it with its tables on a device."""
        return replace(
            self,
            mean=self.mean.to(device),
            coefficient=self.coefficient.to(device),
            scale=self.scale.to(device),
            prior_scale=self.prior_scale.to(device),
        )

    def unit(self, t: int) -> int:
        """Return u_t, in 1/16 of a half level."""
        return unit_of(self.spacing, t)

    def value(self, y: Tensor, t: Tensor | int) -> Tensor:
        """Return y_t (B, C, H, W) in half levels, rounded down."""
        units = torch.tensor([self.unit(step) for step in range(self.steps + 1)], device=y.device)
        return y * units[torch.as_tensor(t, device=y.device)].view(-1, 1, 1, 1) // PARTS

    def drawn(self, x_0: Tensor, t: int, generator: torch.Generator) -> Tensor:
        """Draw y_t ~ q(y_t|x_0) of x_0 (B, C, H, W) in half levels, without the roundings of earlier steps."""
        noise = torch.randn(x_0.shape, generator=generator)
        return (PARTS * x_0 / self.unit(t) + 2 * noise).round().clamp(LEAST, MOST).long()

    def estimate(self, y: Tensor, t: Tensor | int) -> Tensor:
        """Return the linear estimate of x_0 (B, C, H, W) int64 in half levels, from y_t (B, C, H, W) int64."""
        beyond = self.value(y, t) - self.mean
        return self.mean + (beyond * self.coefficient[torch.as_tensor(t) - 1] + (1 << LINEAR_BITS - 1) >> LINEAR_BITS)

    def inputs(self, y: Tensor, estimate: Tensor, known: Tensor) -> Tensor:
        """Return the input of the network (B, 3C, H, W), integers as float32.

        Args:
            estimate: x_0 where it is known, and else the linear estimate.
            known: bool, broadcast to the shape of y.
        """
        values = [estimate * LARGEST_INPUT // (self.levels - 1), 4 * y, UNIT * known.expand_as(y)]
        return torch.cat(values, 1).clamp(-LARGEST_INPUT, LARGEST_INPUT).float()

    def place(self, t: Tensor | int, stage: Tensor | int = 0) -> Tensor:
        """Return the place of the network's biases, from 0: each stage at t = 1 has its own, then each further t."""
        t, stage = torch.as_tensor(t), torch.as_tensor(stage)
        return torch.where(t == 1, stage, self.stages + t - 2)


@dataclass(frozen=True)
class Known(Brief):
    """Pixels that are known exactly.

    Attributes:
        x_0: (B, C, H, W) int64 in half levels around the middle; ignored where unknown.
        mask: bool, broadcast to the shape of x_0: which are known.
        stage: see `nelbo.diffusion.passes.Pass.stage`.
    """

    x_0: Tensor
    mask: Tensor
    stage: int

    @classmethod
    def none(cls, like: Tensor) -> "Known":
        """Return that no pixel is known."""
        return cls(torch.zeros_like(like), torch.zeros(like.shape[1:], dtype=torch.bool), 0)


@dataclass(frozen=True)
class Estimate(Brief):
    """What the network knows of x_0 from y_t.

    Attributes:
        x_0: (B, C, H, W) int64 in half levels around the middle.
        scale: (B, C, H, W) int64, the index of the standard deviation of p(y_{t-1}|y_t).
    """

    x_0: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class IntegerChain(Brief):
    """p(y_k) and p(y_{t-1}|y_t) in integers, and q of the same chain.

    Attributes:
        linear: the estimate that needs no network.
        network: gives the corrections of the estimate and of its log scale.
    """

    linear: LinearModel
    network: IntegerStepNetwork

    @property
    def steps(self) -> int:
        """k."""
        return self.linear.steps

    def first(self, x_0: Tensor) -> IntegerGaussian:
        """Return q(y_1|x_0) of x_0 (B, C, H, W) in half levels."""
        return _gaussian(MEAN_PARTS * x_0 // self.linear.spacing, torch.tensor(TWO), False)

    def next(self, y: Tensor, t: int) -> IntegerGaussian:
        """Return q(y_t|y_{t-1}) of y_{t-1} (B, C, H, W), for t > 1."""
        unit = self.linear.unit
        return _gaussian(MEAN_PARTS * unit(t - 1) * y // unit(t), torch.tensor(ROOT_2), False)

    def prior(self, num: int) -> IntegerGaussian:
        """Return p(y_k) of `num` images."""
        linear = self.linear
        mean = MEAN_PARTS * PARTS * linear.mean // linear.unit(self.steps)
        return _gaussian(mean.expand(num, *mean.shape), linear.prior_scale, True)

    @torch.no_grad()
    def estimate(self, y: Tensor, t: int, known: Known | None = None) -> Estimate:
        """Estimate x_0 from y_t (B, C, H, W) int64, and at t = 1 from the pixels that are known."""
        linear, known = self.linear, known or Known.none(y)
        guess = torch.where(known.mask, known.x_0, linear.estimate(y, t))
        inputs = linear.inputs(y, guess, known.mask)
        x_0, scale = self.network(inputs, int(linear.place(t, known.stage))).long().chunk(2, 1)
        top = linear.levels - 1
        return Estimate((guess + x_0).clamp(-top, top), (linear.scale[t - 1] + (scale >> 3)).clamp(0, SCALES - 1))

    def previous(self, y: Tensor, t: int, estimate: Estimate) -> IntegerGaussian:
        """Return p(y_{t-1}|y_t) for t > 1."""
        unit = self.linear.unit
        mean = MEAN_PARTS // 2 * (unit(t) * y + PARTS * estimate.x_0) // unit(t - 1)
        return _gaussian(mean, estimate.scale, True)

    def posterior(self, x_0: Tensor, y: Tensor, t: int) -> IntegerGaussian:
        """Return q(y_{t-1}|y_t, x_0) of x_0 (B, C, H, W) in half levels, or q(y_k|x_0) at t = k + 1; see `previous`.

        It is that of the chain without its roundings, for the sender of a channel.
        """
        if t > self.steps:
            return _gaussian(MEAN_PARTS * PARTS * x_0 // self.linear.unit(self.steps), torch.tensor(TWO), False)
        return self.previous(y, t, Estimate(x_0, torch.full_like(x_0, ROOT_2)))


def centred(levels: Tensor, num_levels: int) -> Tensor:
    """Return levels (B, C, H, W) as x_0 in half levels around the middle, int64."""
    return 2 * levels.long() - (num_levels - 1)


def simulate(x_0: Tensor, spacing: int, noise: Sequence[Tensor]) -> list[Tensor]:
    """Draw y_1 .. y_k of x_0 (B, C, H, W) in half levels, from standard normals of its shape, one for each step."""
    found = [(x_0 / spacing + 2 * noise[0]).round()]
    for t, e in enumerate(noise[1:], 2):
        found.append((found[-1] * unit_of(spacing, t - 1) / unit_of(spacing, t) + 2**0.5 * e).round())
    return [y.clamp(LEAST, MOST).long() for y in found]


def unit_of(spacing: int, t: int) -> int:
    """Return u_t = u_1 * 2^((t - 1) / 2) in 1/16 of a half level, rounded.

    >>> [unit_of(1, t) for t in range(5)]
    [11, 16, 23, 32, 45]
    """
    doubled = isqrt(2 * (PARTS * spacing) ** 2 << t)  # 2 u_t, rounded down
    return (doubled + 1) // 2


def _scale_of(variance: Tensor) -> Tensor:
    """Return the index of the nearest standard deviation."""
    return (SCALES_AN_OCTAVE / 2 * (variance / 2).log2()).round().long().clamp(0, SCALES - 1)


def _gaussian(mean: Tensor, scale: Tensor, everywhere: bool) -> IntegerGaussian:
    flat = scale.expand(mean.shape).reshape(-1).numpy()
    return IntegerGaussian(mean.reshape(-1).numpy().astype(np.int64), flat, everywhere)
