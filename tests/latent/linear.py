"""A linear Gaussian VAE with the exact diffusion model of its latents: every term of the bound has a closed form."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule
from nelbo.latent import ContinuousReverse, LatentScale
from tests.diffusion.oracle import GaussianData


@dataclass(frozen=True)
class ExactVariance:
    """The variance of q(u_{t-1}|u_t) of Gaussian data, also at t = 1."""

    data: GaussianData
    name: ClassVar[str] = "exact"
    learned: ClassVar[bool] = False

    def __call__(self, schedule, x_t, t, output):
        spread = schedule.posterior_x_0**2 * self.data.mse(schedule)
        return schedule.at(schedule.posterior_variance + spread, t, x_t)


def exact_reverse(schedule: NoiseSchedule, data: GaussianData) -> ContinuousReverse:
    """Return the diffusion model whose transitions are those of q, for u ~ N(mean, variance I)."""
    return ContinuousReverse(data.network(schedule), schedule, variance=ExactVariance(data))


def scale_of(mean: float, stddev: float) -> LatentScale:
    """Return z = mean + stddev u, in float64."""
    return LatentScale(torch.tensor(mean, dtype=torch.float64), torch.tensor(stddev, dtype=torch.float64))


def scaled_data(scale: LatentScale) -> GaussianData:
    """Return the distribution of u for z ~ N(0, I)."""
    stddev = float(scale.stddev)
    return GaussianData(-float(scale.mean) / stddev, stddev**-2)


def exact_mean(function, shape: tuple[int, ...]) -> Tensor:
    """Return the mean over noise of a function that is a sum over dimensions of quadratic functions of their noise.

    Two draws, +1 and -1, have the mean and the variance of a standard normal in every dimension.
    """
    return (function(torch.ones(shape, dtype=torch.float64)) + function(-torch.ones(shape, dtype=torch.float64))) / 2
