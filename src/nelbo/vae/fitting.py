"""q(z|x) fitted to single images: what an encoder, which serves all images at once, leaves on the table."""

import torch
from torch import Tensor, nn

from nelbo.diffusion import sum_dims
from nelbo.errors import ConfigurationError
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.vae.bound import LatentModel

LEARNING_RATE, DRAWS = 0.02, 8


@torch.enable_grad()
def fit_posterior(model: LatentModel, x_0: Tensor, steps: int, generator: torch.Generator) -> DiagonalGaussian:
    """The q (B, latent) that Adam finds for the ELBO of each of x_0 (B, ...), beginning at the encoder's q(z|x).

    The ELBO is log p(x) - KL(q || p(z|x)): any q gives a bound, and the encoder's is rarely the best diagonal Gaussian.
    What fitting gains is the amortisation gap (Cremer et al. 2018); the model itself is left as it is.

    Args:
        steps: of Adam, each on `DRAWS` reparameterised draws an image; the learning rate falls to 0.

    Raises:
        ConfigurationError: fewer than no steps.
    """
    if steps < 0:
        raise ConfigurationError(f"--fit must be 0 or more steps, got {steps}.")
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
