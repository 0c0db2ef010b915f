"""The variational autoencoder: p(x|z) = N(mean(z), stddev^2 I), p(z) = N(0, I), q(z|x) = N(mean(x), diag var(x))."""

import math

import torch
from torch import Tensor, nn

from nelbo.errors import ShapeError
from nelbo.probability import DiagonalGaussian, DiscretizedGaussian
from nelbo.vae.bound import ELBO, elbo
from nelbo.vae.likelihood import GaussianLevels
from nelbo.vae.networks import Decoder, Encoder
from nelbo.vae.options import VAEOptions

NARROWEST = -15.0  # log-variances of q(z|x) are clamped to +-15, so that no variance overflows


class VAE(nn.Module):
    """An encoder and a decoder as distributions, which are float32 even if the networks run in lower precision.

    A call returns the ELBO, so wrappers for compilation and distribution work as for any other network.

    Raises:
        ShapeError: the sides of the images cannot be halved `depth` times.
    """

    def __init__(self, options: VAEOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or VAEOptions()
        _, height, width = options.shape
        if height % 2**options.depth or width % 2**options.depth:
            raise ShapeError(f"images of {height} x {width} cannot be halved {options.depth} times; lower `depth`.")
        self.encoder, self.decoder = Encoder(options), Decoder(options)
        log_stddev = torch.tensor(math.log(options.stddev))
        self.log_stddev = nn.Parameter(log_stddev, requires_grad=options.learned_stddev)

    @property
    def stddev(self) -> float:
        """The standard deviation of p(x|z), on data in [-1, 1]."""
        return float(self.log_stddev.exp())

    @property
    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), of shape (latent,)."""
        zeros = torch.zeros(self.options.latent, device=self.log_stddev.device)
        return DiagonalGaussian(zeros, torch.ones_like(zeros))

    def posterior(self, x_0: Tensor) -> DiagonalGaussian:
        """Return q(z|x), (B, latent), for data x_0 (B, C, H, W).

        Raises:
            ShapeError: the images don't have the model's shape.
        """
        if tuple(x_0.shape[1:]) != self.options.shape:
            raise ShapeError(
                f"the images are {tuple(x_0.shape[1:])}, but the model was built for {self.options.shape}."
            )
        mean, log_variance = self.encoder(x_0).float().chunk(2, dim=1)
        return DiagonalGaussian(mean, log_variance.clamp(NARROWEST, -NARROWEST).exp())

    def likelihood(self, z: Tensor) -> DiscretizedGaussian | GaussianLevels:
        """Return p(x|z), (B, C, H, W), for z (B, latent)."""
        kind = DiscretizedGaussian if self.options.decoder == "discretized" else GaussianLevels
        mean = self.decoder(z).float()
        return kind(mean, (2 * self.log_stddev).exp(), self.options.levels)

    def forward(self, x_0: Tensor, noise: Tensor) -> ELBO:
        """Return the ELBO of data x_0 (B, C, H, W) at one draw of z, from noise (B, latent)."""
        return elbo(self, x_0, noise)
