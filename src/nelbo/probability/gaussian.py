"""Gaussians with a diagonal covariance, and the KL divergence of two of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.randomness import Generators, standard_normal

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian(Brief):
    """N(mean, variance I) over any shape; `mean` and `variance` broadcast against each other.

    All quantities are in nats per dimension. Sum over the dimensions of an example for its joint value.
    """

    mean: Tensor
    variance: Tensor

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, in the shape of `variance`."""
        return self.variance.sqrt()

    def sample(self, generator: Generators, shape: tuple[int, ...] | None = None) -> Tensor:
        """Draw mean + stddev * z with z ~ N(0, I), in `shape`, or in the broadcast shape if None."""
        if shape is None:
            shape = torch.broadcast_shapes(self.mean.shape, self.variance.shape)
        return self.mean + self.stddev * standard_normal(shape, generator, self.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of `x`, nats per dimension."""
        return -0.5 * (LOG_2PI + self.variance.log() + (x - self.mean) ** 2 / self.variance)

    def entropy(self) -> Tensor:
        """Return the differential entropy, nats per dimension, in the shape of `variance`."""
        return 0.5 * (LOG_2PI + 1 + self.variance.log())


def kl_divergence(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """Return KL(q || p) of two Gaussians, the terms of eqs. 5 and 22, nats per dimension.

    KL(q || p) = (r - 1 - log r) / 2 + (mean_q - mean_p)^2 / (2 var_p), with r = var_q / var_p. The result is also
    accurate for nearly equal variances, where r - 1 - log r loses all digits: for small |r - 1| it is computed as a
    series in r - 1.
    """
    excess = (q.variance - p.variance) / p.variance
    small = excess.abs() < 1e-2
    series_at = torch.where(small, excess, torch.zeros_like(excess))
    log_at = torch.where(small, torch.zeros_like(excess), excess)
    series = series_at**2 * (1 / 2 - series_at * (1 / 3 - series_at * (1 / 4 - series_at * (1 / 5 - series_at / 6))))
    # for r below a half, 1 + excess can lose r to rounding, so log r is a difference of two logarithms there
    near = log_at > -0.5
    log_ratio = torch.where(
        near, torch.log1p(torch.where(near, log_at, torch.zeros_like(log_at))), q.variance.log() - p.variance.log()
    )
    spread = torch.where(small, series, log_at - log_ratio)
    return 0.5 * (spread + (q.mean - p.mean) ** 2 / p.variance)
