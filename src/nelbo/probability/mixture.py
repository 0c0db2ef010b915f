"""A fully known distribution: points with their probabilities, a Gaussian, or a mixture of Gaussians."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.probability.gaussian import DiagonalGaussian


@dataclass(frozen=True, eq=False)
class Mixture(Brief):
    """x_0 ~ sum_i weights_i N(centres_i, variance I), of any shape; a variance of 0 makes the components points.

    The methods describe x = signal x_0 + stddev z, with z ~ N(0, I), and the posterior of x_0 given x. They are exact.
    Results are float64.

    Attributes:
        centres: (n, ...) the means of the components.
        weights: (n,) the probabilities of the components; they sum to 1.
        variance: of each dimension of every component.
    """

    centres: Tensor
    weights: Tensor
    variance: float = 0.0

    @classmethod
    def of_points(cls, points: Tensor) -> "Mixture":
        """Build the empirical distribution of points (N, ...); the weight of a point is its share."""
        distinct, counts = points.unique(dim=0, return_counts=True)
        return cls(distinct, counts.double() / len(points))

    def log_joint(self, x: Tensor, signal: float = 1.0, stddev: float = 0.0) -> Tensor:
        """Return log(weights_i p(x|i)) for x (B, ...) and every component i, (B, n) nats.

        Its softmax over i is the posterior of the component. For points without noise, p is a mass and not a density.
        """
        rows, centres = x.double().flatten(1), signal * self.centres.double().flatten(1)
        squared = torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        spread = self._spread(signal, stddev)
        if spread == 0:
            log_prob = torch.where(squared == 0, 0.0, -math.inf)
        else:
            log_prob = -0.5 * (squared / spread + rows.shape[1] * math.log(2 * math.pi * spread))
        return log_prob + self.weights.double().log()

    def log_prob(self, x: Tensor, signal: float = 1.0, stddev: float = 0.0) -> Tensor:
        """Return the joint log-density of x (B, ...), (B,) nats per example; for points without noise, a log-mass."""
        return self.log_joint(x, signal, stddev).logsumexp(1)

    def moments(self) -> DiagonalGaussian:
        """Return the Gaussian (1, ...) with the mean and the variances of x_0."""
        centre = self._centre(self.weights.double()[None])
        return DiagonalGaussian(centre.mean, centre.variance + self.variance)

    def given(self, x: Tensor, signal: float, stddev: float) -> DiagonalGaussian:
        """Return the Gaussian (B, ...) with the mean and the variances of x_0 given x (B, ...).

        The mean is the output of the best denoiser, and the variances are its expected squared error.
        """
        centre = self._centre(self.log_joint(x, signal, stddev).softmax(1))
        gain = signal * self.variance / self._spread(signal, stddev)  # the mean of a component moves towards x
        left = 1 - gain * signal
        mean = left * centre.mean + gain * x.double()
        return DiagonalGaussian(mean, left**2 * centre.variance + left * self.variance)

    def _centre(self, weights: Tensor) -> DiagonalGaussian:
        """Return mean and variances of the centre of a component chosen with probabilities (B, n)."""
        flat = self.centres.double().flatten(1)
        middle = self.weights.double() @ flat  # squares of differences from it lose fewer digits
        mean = weights @ (flat - middle)
        variance = (weights @ (flat - middle).square() - mean.square()).clamp(min=0)
        shape = (len(weights), *self.centres.shape[1:])
        return DiagonalGaussian((mean + middle).view(shape), variance.view(shape))

    def _spread(self, signal: float, stddev: float) -> float:
        """Return the variance of each dimension of x within a component."""
        return signal**2 * self.variance + stddev**2
