"""The evidence lower bound (ELBO) of a latent-variable model: log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z))."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nelbo.diffusion import sum_dims
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.vae.likelihood import Likelihood


class LatentModel(Protocol):
    """A latent-variable model: p(z), p(x|z) and q(z|x). The bound and the estimators of log p(x) need nothing else.

    Examples:
        x = z + noise, with the exact posterior q(z|x) = p(z|x) and levels of width 1:

        >>> import torch
        >>> from nelbo.probability import DiagonalGaussian
        >>> from nelbo.vae import GaussianLevels, elbo
        >>> class Shifted:
        ...     prior = DiagonalGaussian(torch.zeros(1), torch.ones(1))
        ...
        ...     def likelihood(self, z):
        ...         return GaussianLevels(z, torch.ones(1), levels=3)
        ...
        ...     def posterior(self, x_0):
        ...         return DiagonalGaussian(x_0 / 2, torch.full_like(x_0, 0.5))
        >>> x_0 = torch.tensor([[0.5]])
        >>> draws = [elbo(Shifted(), x_0, torch.tensor([[z]])).total for z in (-1.0, 1.0)]
        >>> log_p = DiagonalGaussian(torch.zeros(1), torch.tensor(2.0)).log_prob(x_0)  # x ~ N(0, 2)
        >>> torch.allclose(sum(draws) / 2, log_p[0])
        True
    """

    @property
    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), of shape (latent,)."""

    def likelihood(self, z: Tensor) -> Likelihood:
        """Return p(x|z) for z (B, latent)."""

    def posterior(self, x_0: Tensor) -> DiagonalGaussian:
        """Return q(z|x), (B, latent), for data x_0 (B, ...)."""


@dataclass(frozen=True)
class ELBO:
    """The two terms of the ELBO, nats per example.

    Attributes:
        reconstruction: (B,) log p(x|z) at one draw z of q(z|x).
        kl: (B,) KL(q(z|x) || p(z)), exact.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) the ELBO, whose expectation is at most log p(x)."""
        return self.reconstruction - self.kl


def elbo(model: LatentModel, x_0: Tensor, noise: Tensor) -> ELBO:
    """Return the ELBO at one reparameterised draw z = mean + stddev * noise (Kingma & Welling 2014).

    Args:
        model: p(z), p(x|z) and q(z|x).
        x_0: (B, ...) data.
        noise: (B, latent) from N(0, I).
    """
    q = model.posterior(x_0)
    reconstruction = sum_dims(model.likelihood(q.mean + q.stddev * noise).log_prob(x_0))
    return ELBO(reconstruction, sum_dims(kl_divergence(q, model.prior)))
