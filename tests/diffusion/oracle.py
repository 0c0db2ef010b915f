"""Data with a known best network: x_0 ~ N(mean, variance I). All expectations along its chain have a closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule


@dataclass(frozen=True)
class GaussianData:
    """x_0 ~ N(mean, variance I). Tables are (T+1,) float64, indexed by the time of the given schedule."""

    mean: float
    variance: float

    def draw(self, num: int, generator: torch.Generator) -> Tensor:
        """Draw (num, 1, 1, 1) float64: examples of one dimension."""
        return self.mean + math.sqrt(self.variance) * torch.randn(num, 1, 1, 1, generator=generator, dtype=torch.double)

    def marginal_variance(self, schedule: NoiseSchedule) -> Tensor:
        """Return Var[x_t]."""
        return schedule.alphas_bar * self.variance + 1 - schedule.alphas_bar

    def mse(self, schedule: NoiseSchedule) -> Tensor:
        """Return E(x_0 - E[x_0|x_t])^2 = Var[x_0|x_t]."""
        return self.variance * (1 - schedule.alphas_bar) / self.marginal_variance(schedule)

    def network(self, schedule: NoiseSchedule) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the network E[noise|x_t], which takes the time of the schedule."""

        def noise(x_t: Tensor, time: Tensor) -> Tensor:
            shape = (-1, *[1] * (x_t.ndim - 1))
            alphas_bar = schedule.alphas_bar[time].reshape(shape)
            spread = self.marginal_variance(schedule)[time].reshape(shape)
            return ((1 - alphas_bar).sqrt() * (x_t.double() - alphas_bar.sqrt() * self.mean) / spread).to(x_t.dtype)

        return noise


def z_score(sample: Tensor, expected: float | Tensor) -> float:
    """Return the distance of the mean of a sample (N,) from its expectation, in standard errors."""
    return float((sample.mean() - expected) / (sample.std() / math.sqrt(len(sample))))


def at(t: int, like: Tensor) -> Tensor:
    """Return t for every example of `like`, (B,)."""
    return torch.full((len(like),), t, dtype=torch.int64)
