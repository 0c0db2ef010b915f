"""p(x|z) where it is a density: counted as the mass that the density gives to one of the K levels."""

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nelbo.probability import DiagonalGaussian


class Likelihood(Protocol):
    """p(x|z): per dimension, nats of data x_0 on K levels. `nelbo.probability.DiscretizedGaussian` is one."""

    @property
    def mean(self) -> Tensor:
        """What is shown of it."""

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Log-mass per dimension, nats."""


@dataclass(frozen=True)
class GaussianLevels:
    """N(mean, variance), its density times the width 2/(K-1) of a level: + log2((K-1)/2) bits/dim, 6.994 for K = 256.

    That makes its numbers comparable with the discretized Gaussian's, which it nears where the standard deviation spans
    several levels. Where it doesn't, the "mass" may exceed 1: then no bound on the bits of the levels is meant.
    """

    mean: Tensor
    variance: Tensor
    levels: int = 256

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Log-density per dimension, nats, plus the logarithm of a level's width."""
        return DiagonalGaussian(self.mean, self.variance).log_prob(x_0) + math.log(2 / (self.levels - 1))
