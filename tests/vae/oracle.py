"""Probabilistic PCA (Tipping & Bishop 1999): a linear decoder with known p(x) and p(z|x)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from nelbo.probability import DiagonalGaussian
from nelbo.vae import GaussianLevels


@dataclass
class ProbabilisticPCA:
    """x = W z + offset + stddev * noise. The columns of W are orthogonal, so p(z|x) has a diagonal covariance.

    With 3 levels, the width of a level is 1, and `GaussianLevels` is the plain density. The variance of q(z|x) is
    `blur` times that of p(z|x).
    """

    weights: Tensor  # (dims, latent)
    offset: Tensor  # (dims,)
    stddev: float
    blur: float = 1.0

    @classmethod
    def random(cls, dims, latent, stddev=0.3, seed=0, blur=1.0):
        generator = torch.Generator().manual_seed(seed)
        full = torch.randn(dims, latent, generator=generator, dtype=torch.float64)
        scales = torch.linspace(0.5, 1.5, latent, dtype=torch.float64)
        return cls(
            torch.linalg.qr(full).Q * scales,
            torch.randn(dims, generator=generator, dtype=torch.float64),
            stddev,
            blur,
        )

    @property
    def prior(self):
        latent = self.weights.shape[1]
        return DiagonalGaussian(torch.zeros(latent, dtype=torch.float64), torch.ones(latent, dtype=torch.float64))

    def likelihood(self, z):
        return GaussianLevels(z @ self.weights.T + self.offset, torch.tensor(self.stddev**2, dtype=torch.float64), 3)

    def posterior(self, x_0):
        precision = 1 + self.weights.square().sum(0) / self.stddev**2
        mean = (x_0 - self.offset) @ self.weights / self.stddev**2 / precision
        return DiagonalGaussian(mean, (self.blur / precision).expand_as(mean))

    def log_prob(self, x_0):
        """Return the exact log p(x)."""
        covariance = self.weights @ self.weights.T + self.stddev**2 * torch.eye(len(self.offset), dtype=torch.float64)
        return MultivariateNormal(self.offset, covariance).log_prob(x_0)

    def sample(self, num, seed=1):
        generator = torch.Generator().manual_seed(seed)
        z = self.prior.sample(generator, (num, self.weights.shape[1]))
        return DiagonalGaussian(self.likelihood(z).mean, self.likelihood(z).variance).sample(generator)
