"""A linear Gaussian VAE with the exact diffusion model of its latents: every term of the bound has a closed form."""

import torch
from torch import Tensor

from nelbo.diffusion import Calibrated, NoiseSchedule
from nelbo.latent import ContinuousReverse, LatentScale
from tests.diffusion.oracle import GaussianData


def exact_reverse(schedule: NoiseSchedule, data: GaussianData) -> ContinuousReverse:
    """Return the diffusion model whose transitions are those of q, for u ~ N(mean, variance I).

    The calibrated variance is the exact one for Gaussian data, also at t = 1, where p(u_0|u_1) is a density.
    """
    return ContinuousReverse(data.network(schedule), schedule, variance=Calibrated(data.mse(schedule)))


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
