"""A traversal of single dimensions of z, to see what each dimension represents."""

import torch
from torch import Tensor

from nelbo.probability import kl_divergence
from nelbo.vae.bound import LatentModel


@torch.no_grad()
def traverse(model: LatentModel, z: Tensor, dims: Tensor, values: Tensor) -> Tensor:
    """Return the means of p(x|z) for z (latent,) with dimension dims[i] set to values[j].

    Returns:
        (len(dims), len(values), ...).
    """
    moved = z.repeat(len(dims), len(values), 1)
    rows = torch.arange(len(dims), device=z.device)
    moved[rows, :, dims] = values.to(z)
    shown: Tensor = model.likelihood(moved.flatten(0, 1)).mean.unflatten(0, (len(dims), len(values)))
    return shown


@torch.no_grad()
def busiest(model: LatentModel, x_0: Tensor, num: int) -> Tensor:
    """Return the `num` dimensions of z with the largest mean KL over data x_0 (B, ...), in descending order.

    A dimension with a KL near 0 follows p(z) and carries no information about x.
    """
    kl = kl_divergence(model.posterior(x_0), model.prior).mean(0)
    return kl.argsort(descending=True)[:num]
