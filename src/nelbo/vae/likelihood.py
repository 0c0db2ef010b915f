"""p(x|z) as a density, counted as the mass of one of the K levels."""

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nelbo.probability import DiagonalGaussian


class Likelihood(Protocol):
    """p(x|z) of data on K levels, such as `nelbo.probability.DiscretizedGaussian` (eq. 13) or `GaussianLevels`."""

    @property
    def mean(self) -> Tensor:
        """(B, ...) the mean, which pictures show."""

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Return the log-mass of x_0 (B, ...), nats per dimension."""


@dataclass(frozen=True)
class GaussianLevels:
    """The density of N(mean, variance) times the width 2/(K-1) of a level.

    The factor adds log2((K-1)/2) to the bits/dim, 6.994 for K = 256. The result is comparable with the discretized
    Gaussian, and close to it if the standard deviation spans several levels. If it spans fewer, the "mass" can exceed
    1, and the result is not a bound on the bits of the levels.
    """

    mean: Tensor
    variance: Tensor
    levels: int = 256

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Return the log-density of x_0 plus the logarithm of the width of a level, nats per dimension."""
        return DiagonalGaussian(self.mean, self.variance).log_prob(x_0) + math.log(2 / (self.levels - 1))
