"""q(z|x) fitted to single images, to measure what is lost by one encoder for all images."""

import torch
from torch import Tensor, nn

from nelbo.diffusion import sum_dims
from nelbo.errors import ConfigurationError, option
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.vae.bound import LatentModel

LEARNING_RATE = 0.02  # at the first step of Adam
DRAWS = 8


@torch.enable_grad()
def fit_posterior(model: LatentModel, x_0: Tensor, steps: int, generator: torch.Generator) -> DiagonalGaussian:
    """Return the q (B, latent) that maximises the ELBO of each example, found by Adam from the encoder's q(z|x).

    The ELBO is log p(x) - KL(q || p(z|x)). Every q gives a bound, and the encoder's q is rarely the best diagonal
    Gaussian. The gain is the amortisation gap (Cremer et al. 2018). The model does not change.

    Args:
        model: p(z), p(x|z) and q(z|x).
        x_0: (B, ...) data.
        steps: steps of Adam, each with `DRAWS` reparameterised draws per example; the learning rate falls to 0.
        generator: source of the draws.

    Raises:
        ConfigurationError: `steps` is negative.
    """
    if steps < 0:
        raise ConfigurationError(f"{option('fit')} must be 0 or more steps, got {steps}.")
    with torch.no_grad():
        q = model.posterior(x_0)
    mean, log_variance = nn.Parameter(q.mean.clone()), nn.Parameter(q.variance.log())
    optimizer = torch.optim.Adam([mean, log_variance])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps)
        fitted = DiagonalGaussian(mean, log_variance.exp())
        draws = fitted.sample(generator, (DRAWS, *mean.shape))
        given = torch.stack([sum_dims(model.likelihood(z).log_prob(x_0)) for z in draws]).mean(0)
        loss = (sum_dims(kl_divergence(fitted, model.prior)) - given).sum()
        mean.grad, log_variance.grad = torch.autograd.grad(loss, [mean, log_variance])
        optimizer.step()
    return DiagonalGaussian(mean.detach(), log_variance.detach().exp())
