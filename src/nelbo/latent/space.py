"""A finished autoencoder with the scaling of its latents: the space in which the diffusion model lives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.latent.autoencoder import Autoencoder
from nelbo.latent.scale import LatentScale
from nelbo.probability import DiagonalGaussian, DiscretizedLogistic, levels_to_data

CHUNK = 32  # images encoded at once


@dataclass(frozen=True, eq=False)
class Encoded(Brief):
    """One draw of q(z|x) for each image.

    Attributes:
        q: q(z|x), (B, L, h, w).
        u: the draw, scaled.
    """

    q: DiagonalGaussian
    u: Tensor


@dataclass(frozen=True, eq=False)
class LatentSpace(Brief):
    """An autoencoder and the scaling of its latents.

    Attributes:
        autoencoder: its weights are not trained here.
        scale: from z to u, whose mean is 0 and whose variance is 1 over the training images.
    """

    autoencoder: Autoencoder
    scale: LatentScale

    @property
    def device(self) -> torch.device:
        """The device of the autoencoder."""
        return self.autoencoder.device

    def to(self, device: torch.device) -> "LatentSpace":
        """Return the space on a device; the autoencoder itself moves."""
        return LatentSpace(self.autoencoder.to(device), self.scale.to(device))

    def data_of(self, images: Tensor) -> Tensor:
        """Return data x_0 for images of levels, (B, C, H, W) each, on the space's device."""
        return levels_to_data(images.to(self.device), self.autoencoder.options.levels)

    @torch.no_grad()
    def moments(self, x_0: Tensor) -> Tensor:
        """Return the mean and the standard deviation of q(u|x) of the scaled latents, (B, 2L, h, w)."""
        q = self.autoencoder.posterior(x_0)
        return torch.cat([self.scale.scaled(q.mean), q.stddev / self.scale.stddev], 1)

    @torch.no_grad()
    def encode(self, x_0: Tensor, noise: Tensor) -> Encoded:
        """Return one draw z = mean + stddev * noise of q(z|x), scaled, for data x_0 (B, C, H, W)."""
        q = self.autoencoder.posterior(x_0)
        return Encoded(q, self.scale.scaled(q.mean + q.stddev * noise))

    @torch.no_grad()
    def decode(self, u: Tensor) -> DiscretizedLogistic:
        """Return p(x|z), (B, C, H, W), for scaled latents u (B, L, h, w)."""
        return self.autoencoder.likelihood(self.scale.unscaled(u))

    @torch.no_grad()
    def reconstruct(self, x_0: Tensor) -> Tensor:
        """Return the mean of p(x|z) at the mean of q(z|x), for data x_0 (B, C, H, W)."""
        return self.autoencoder.likelihood(self.autoencoder.posterior(x_0).mean).mean
