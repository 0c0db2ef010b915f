"""The bound of latent diffusion: one number on -log p(x_0) of the pixels, from a VAE whose prior is a diffusion model.

-log p(x) <= E_q(z|x)[-log p(x|z) + log q(z|x) - log p(z)], and for z = mean + stddev u the chain bounds
-log p(z) = -log p(u) + log |det dz/du|.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import BoundTerms, VariationalBound, sum_dims
from nelbo.display import Brief
from nelbo.latent.process import ContinuousReverse
from nelbo.latent.scale import LatentScale
from nelbo.vae import LatentModel


@dataclass(frozen=True)
class LatentBound(Brief):
    """The terms of the bound for each example, in nats.

    Attributes:
        reconstruction: (B,) -log p(x|z), a mass of the levels, at one draw z of q(z|x).
        encoder: (B,) E[log q(z|x)] = -H(q(z|x)), exact.
        chain: the terms of the bound on -log p(u) of eq. 5; its `decoder` is -log p(u_0|u_1), a density.
        scaling: (B,) log |det dz/du|.
    """

    reconstruction: Tensor
    encoder: Tensor
    chain: BoundTerms
    scaling: Tensor

    @property
    def rate(self) -> Tensor:
        """(B,) the bound on E[log q(z|x) - log p(z)], which takes the place of the KL divergence of a VAE."""
        return self.encoder + self.chain.total + self.scaling

    @property
    def total(self) -> Tensor:
        """(B,) the bound on -log p(x); its expectation is at least -log p(x)."""
        return self.reconstruction + self.rate


def latent_bound(
    model: LatentModel,
    scale: LatentScale,
    reverse: ContinuousReverse,
    x_0: Tensor,
    noise: Tensor,
    generator: torch.Generator | None,
    label: ConditionLike | None = None,
) -> LatentBound:
    """Return every term of the bound at one draw z = mean + stddev * noise, with one draw of u_t for each t.

    The network is called T times; `evaluate_latent` draws some values of t instead.

    Args:
        model: p(x|z) and q(z|x); its prior is not used.
        scale: from z to u.
        reverse: the diffusion model of u.
        x_0: (B, ...) data.
        noise: (B, ...) from N(0, I), in the shape of z.
        generator: source of the draws of u_t.
        label: condition of the diffusion network.
    """
    q = model.posterior(x_0)
    z = q.mean + q.stddev * noise
    u = scale.scaled(z)
    return LatentBound(
        -sum_dims(model.likelihood(z).log_prob(x_0)),
        -sum_dims(q.entropy()),
        VariationalBound(reverse).terms(u, generator, label),
        scale.log_jacobian(u),
    )
