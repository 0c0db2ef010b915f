"""Data whose posteriors are known: x_0 ~ N(mean, covariance) over a few correlated pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule

SIDE = 4


@dataclass(frozen=True)
class CorrelatedData:
    """Images (1, 4, 4) in which the correlation of two pixels is exp(-distance / length).

    Attributes:
        mean: (16,); covariance: (16, 16); both float64.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, variance: float = 0.25, length: float = 2.0) -> "CorrelatedData":
        place = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).double()
        correlation = torch.exp(-torch.cdist(place, place) / length)
        return cls(torch.linspace(-0.3, 0.3, SIDE**2, dtype=torch.double), variance * correlation)

    def draw(self, num: int, generator: torch.Generator) -> Tensor:
        """Draw images (num, 1, 4, 4), float64."""
        z = torch.randn(num, SIDE**2, generator=generator, dtype=torch.double)
        return (self.mean + z @ torch.linalg.cholesky(self.covariance).T).view(num, 1, SIDE, SIDE)

    def network(self, schedule: NoiseSchedule) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the network E[noise|x_t], linear in x_t. All examples of a call must have the same time."""
        values, vectors = torch.linalg.eigh(self.covariance)

        def noise(x_t: Tensor, time: Tensor) -> Tensor:
            assert bool((time == time[0]).all())
            abar = schedule.alphas_bar[time[0]]
            gain = (vectors * ((1 - abar).sqrt() / (abar * values + 1 - abar))) @ vectors.T
            return ((x_t.double().flatten(1) - abar.sqrt() * self.mean) @ gain).view_as(x_t).to(x_t.dtype)

        return noise

    def given(self, matrix: Tensor, y: Tensor, noise: float = 0.0) -> "CorrelatedData":
        """Return the posterior of x_0 given y = matrix x_0 + noise z, for matrix (M, 16) and y (M,)."""
        of_y = matrix @ self.covariance @ matrix.T + noise**2 * torch.eye(len(y), dtype=torch.double)
        gain = self.covariance @ matrix.T @ torch.linalg.pinv(of_y)
        return CorrelatedData(
            self.mean + gain @ (y - matrix @ self.mean), self.covariance - gain @ matrix @ self.covariance
        )


def matrix_of(damage: Callable[[Tensor], Tensor], channels: int = 1) -> Tensor:
    """Return A as a matrix (M, channels x 16), computed column by column."""
    units = torch.eye(channels * SIDE**2, dtype=torch.double).view(-1, channels, SIDE, SIDE)
    return damage(units).flatten(1).T
