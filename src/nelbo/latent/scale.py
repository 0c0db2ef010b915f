"""The scaling of latents to the mean 0 and the variance 1 that a noise schedule expects, and its Jacobian."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.errors import NonFiniteError


@dataclass(frozen=True, eq=False)
class LatentScale(Brief):
    """z = mean + stddev u, one mean and one standard deviation for each channel.

    Attributes:
        mean: (L, 1, 1) or any shape that broadcasts against a z without its batch dimension.
        stddev: in the same shape, above 0.
    """

    mean: Tensor
    stddev: Tensor

    @classmethod
    def of(cls, moments: tuple[Tensor, Tensor]) -> Self:
        """Build the scale from E[z] and E[z^2] of each channel, (L,) each.

        Raises:
            NonFiniteError: a moment is NaN or infinite.
        """
        mean, square = moments
        stddev = (square - mean**2).clamp(min=1e-12).sqrt()
        if not bool(mean.isfinite().all() and stddev.isfinite().all()):
            raise NonFiniteError("the latents have no finite mean and variance; train the autoencoder again.")
        return cls(mean.float()[:, None, None], stddev.float()[:, None, None])

    def to(self, device: torch.device) -> Self:
        """Return the scale on a device."""
        return type(self)(self.mean.to(device), self.stddev.to(device))

    def scaled(self, z: Tensor) -> Tensor:
        """Return u = (z - mean) / stddev."""
        return (z - self.mean) / self.stddev

    def unscaled(self, u: Tensor) -> Tensor:
        """Return z = mean + stddev u."""
        return self.mean + self.stddev * u

    def log_jacobian(self, u: Tensor) -> Tensor:
        """Return log |det dz/du| of each example, (B,) nats, so that -log p(z) = -log p(u) + log |det dz/du|."""
        return self.stddev.log().expand_as(u).flatten(1).sum(1)
