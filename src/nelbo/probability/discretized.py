"""A Gaussian integrated over the bins of K levels: the decoder p_theta(x_0|x_1) (eq. 13)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.probability.levels import data_to_levels, levels_to_data
from nelbo.probability.normal import log_interval_mass
from nelbo.randomness import Generators, standard_normal


@dataclass(frozen=True)
class DiscretizedGaussian(Brief):
    """The mass of N(mean, variance) in the bin of each of K levels (eq. 13).

    The bin of level k has the half-width 1/(K-1) around 2k/(K-1) - 1. The bins of the two edge levels extend to -inf
    and +inf, so the masses sum to 1.

    Attributes:
        mean, variance: of the Gaussian; they broadcast against each other.
        levels: K.
    """

    mean: Tensor
    variance: Tensor
    levels: int = 256

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Return the log-mass (eq. 13) of data x_0 on the K levels, nats per dimension.

        It is computed in float64 and returned in the dtype of x_0.
        """
        # rounding moves float32 data off its level, which would change the mass of a narrow Gaussian
        level = data_to_levels(x_0.double(), self.levels)
        x, half = levels_to_data(level, self.levels, torch.float64), 1 / (self.levels - 1)
        mean, stddev = self.mean.double(), self.variance.double().sqrt()
        infinity = torch.full_like(x, math.inf)
        lower = torch.where(x < -1 + half, -infinity, (x - half - mean) / stddev)
        upper = torch.where(x > 1 - half, infinity, (x + half - mean) / stddev)
        return log_interval_mass(lower, upper).to(x_0.dtype)

    def log_probs(self) -> Tensor:
        """Return the log-masses (eq. 13) of all K levels, (..., K) float64, nats."""
        grid = levels_to_data(torch.arange(self.levels, device=self.mean.device), self.levels, torch.float64)
        broadcast = DiscretizedGaussian(self.mean.unsqueeze(-1), self.variance.unsqueeze(-1), self.levels)
        shape = torch.broadcast_shapes(self.mean.shape, self.variance.shape)
        return broadcast.log_prob(grid.expand(*shape, self.levels))

    def sample(self, generator: Generators) -> Tensor:
        """Draw data x_0 on the K levels (eq. 13): a draw of the Gaussian, rounded to the nearest level."""
        shape = torch.broadcast_shapes(self.mean.shape, self.variance.shape)
        z = standard_normal(shape, generator, self.mean)
        draw = (self.mean + self.variance.sqrt() * z + 1) * ((self.levels - 1) / 2)
        return levels_to_data(draw.round().clamp(0, self.levels - 1), self.levels, self.mean.dtype)
