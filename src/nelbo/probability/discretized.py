"""A Gaussian integrated over the bins of K levels: the decoder p(x_0|x_1) of eq. 13."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.probability.levels import levels_to_data

SQRT_HALF = math.sqrt(0.5)


def log_interval_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """log(Phi(upper) - Phi(lower)) for a standard normal, lower < upper, either end possibly infinite.

    Intervals around 0 are a sum of two error functions. The others are mirrored to the right tail, where
    Phi(-x) = erfcx(x / sqrt 2) exp(-x^2 / 2) / 2 lets the exponential be taken out, so that neither the value nor the
    gradient underflows however far away the interval is.
    """
    mirrored = lower + upper < 0
    near = torch.where(mirrored, -upper, lower)
    far = torch.where(mirrored, -lower, upper)
    around_zero = near < 0
    unbounded = torch.isinf(far)

    # `where` passes NaN gradients of the branch not taken, so each branch sees arguments that are safe for it.
    near_around = torch.where(around_zero, near, -torch.ones_like(near))
    far_around = torch.where(around_zero & ~unbounded, far, torch.ones_like(far))
    upper_half = torch.where(unbounded, torch.ones_like(far), torch.erf(far_around * SQRT_HALF))
    around = torch.log(0.5 * (upper_half - torch.erf(near_around * SQRT_HALF)))

    near_tail = torch.where(around_zero, torch.zeros_like(near), near)
    far_tail = torch.where(around_zero | unbounded, near_tail + 1, far)
    decay = torch.exp(-0.5 * (far_tail - near_tail) * (far_tail + near_tail))
    beyond = torch.where(unbounded, torch.zeros_like(far), torch.special.erfcx(far_tail * SQRT_HALF) * decay)
    tail = torch.log(0.5 * (torch.special.erfcx(near_tail * SQRT_HALF) - beyond)) - 0.5 * near_tail**2
    return torch.where(around_zero, around, tail)


@dataclass(frozen=True)
class DiscretizedGaussian:
    """Eq. 13: level k of K has the mass of N(mean, variance) in the bin of half-width 1/(K-1) around 2k/(K-1) - 1.

    The bins of the two edge levels reach -inf and +inf, so the masses sum to 1. `mean` and `variance` broadcast.
    """

    mean: Tensor
    variance: Tensor
    levels: int = 256

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Log-mass per dimension, nats, of data x_0 that lies on the K levels. Computed in float64, returned as x_0."""
        x, half = x_0.double(), 1 / (self.levels - 1)
        mean, stddev = self.mean.double(), self.variance.double().sqrt()
        infinity = torch.full_like(x, math.inf)
        lower = torch.where(x < -1 + half, -infinity, (x - half - mean) / stddev)
        upper = torch.where(x > 1 - half, infinity, (x + half - mean) / stddev)
        return log_interval_mass(lower, upper).to(x_0.dtype)

    def log_probs(self) -> Tensor:
        """Log-masses of all K levels, nats, float64, with a last dimension of size K."""
        grid = levels_to_data(torch.arange(self.levels, device=self.mean.device), self.levels, torch.float64)
        broadcast = DiscretizedGaussian(self.mean.unsqueeze(-1), self.variance.unsqueeze(-1), self.levels)
        shape = torch.broadcast_shapes(self.mean.shape, self.variance.shape)
        return broadcast.log_prob(grid.expand(*shape, self.levels))

    def sample(self, generator: torch.Generator | None) -> Tensor:
        """Draw data x_0 on the K levels: a draw of the Gaussian, moved to the nearest level."""
        shape = torch.broadcast_shapes(self.mean.shape, self.variance.shape)
        z = torch.randn(shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        draw = (self.mean + self.variance.sqrt() * z + 1) * ((self.levels - 1) / 2)
        return levels_to_data(draw.round().clamp(0, self.levels - 1), self.levels, self.mean.dtype)
