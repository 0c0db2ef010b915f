"""The evidence lower bound of a latent variable model: log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z))."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nelbo.diffusion import sum_dims
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.vae.likelihood import Likelihood


class LatentModel(Protocol):
    """p(z), p(x|z) and q(z|x): all that the bound and the estimators of log p(x) know of a model."""

    @property
    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), of shape (latent,)."""

    def likelihood(self, z: Tensor) -> Likelihood:
        """p(x|z) for z (B, latent)."""

    def posterior(self, x_0: Tensor) -> DiagonalGaussian:
        """q(z|x), of shape (B, latent), for data x_0 (B, ...)."""


@dataclass(frozen=True)
class ELBO:
    """Nats an example, each (B,).

    Attributes:
        reconstruction: log p(x|z) of one draw of q(z|x).
        kl: KL(q(z|x) || p(z)), exact.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) log p(x) is at least this, in expectation."""
        return self.reconstruction - self.kl


def elbo(model: LatentModel, x_0: Tensor, noise: Tensor) -> ELBO:
    """One reparameterised draw z = mean + stddev * noise (Kingma & Welling 2014) of data x_0 (B, ...).

    Args:
        noise: (B, latent) from N(0, I).
    """
    q = model.posterior(x_0)
    reconstruction = sum_dims(model.likelihood(q.mean + q.stddev * noise).log_prob(x_0))
    return ELBO(reconstruction, sum_dims(kl_divergence(q, model.prior)))
