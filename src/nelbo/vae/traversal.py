"""A walk along single dimensions of z: what each has learnt to mean."""

import torch
from torch import Tensor

from nelbo.probability import kl_divergence
from nelbo.vae.bound import LatentModel


@torch.no_grad()
def traverse(model: LatentModel, z: Tensor, dims: Tensor, values: Tensor) -> Tensor:
    """z (latent,) with dimension dims[i] set to values[j]: the means of p(x|z), (len(dims), len(values), ...)."""
    moved = z.repeat(len(dims), len(values), 1)
    rows = torch.arange(len(dims), device=z.device)
    moved[rows, :, dims] = values.to(z)
    shown: Tensor = model.likelihood(moved.flatten(0, 1)).mean.unflatten(0, (len(dims), len(values)))
    return shown


@torch.no_grad()
def busiest(model: LatentModel, x_0: Tensor, num: int) -> Tensor:
    """The `num` dimensions of z that carry most KL over data x_0 (B, ...), most first: the others just follow p(z)."""
    kl = kl_divergence(model.posterior(x_0), model.prior).mean(0)
    return kl.argsort(descending=True)[:num]
