"""The ELBO over images: bits/dim with its standard error, split into reconstruction and KL, and one score an image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import bits_per_dim
from nelbo.errors import ConfigurationError, DataError
from nelbo.probability import levels_to_data
from nelbo.randomness import SCORING, image_generators, standard_normal
from nelbo.vae.bound import elbo
from nelbo.vae.model import VAE


@dataclass(frozen=True)
class ELBOReport:
    """The negative ELBO over a set of images, in bits/dim: a bound on -log2 p(x) with the discretized decoder.

    Attributes:
        total, reconstruction, kl: means over the images; total = reconstruction + kl.
        standard_error: of `total` as the mean over the population that the images are from: how they differ, and draws.
        draw_error: of `total` for these very images: the draws of z alone; NaN with one draw each.
        scores: (N,) the total of each image, from its own draws.
        stddev: of p(x|z), in levels.
    """

    total: float
    reconstruction: float
    kl: float
    standard_error: float
    draw_error: float
    scores: Tensor
    num_images: int
    num_dims: int
    levels: int
    draws: int
    decoder: str
    stddev: float

    def to_json(self) -> dict[str, Any]:
        """What `nelbo evaluate --json` writes, without the version."""
        parts = ("total", "reconstruction", "kl", "standard_error")
        rest = ("draw_error", "num_images", "num_dims", "levels", "draws", "decoder", "stddev")
        bits = {"bits_per_dim": {part: getattr(self, part) for part in parts}}
        return {**bits, **{name: getattr(self, name) for name in rest}}


@torch.no_grad()
def evaluate_elbo(
    model: VAE,
    images: ImageDataset,
    *,
    draws: int = 4,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> ELBOReport:
    """Estimate the ELBO of every image of a set, without bias: the mean of so many draws of z, with the exact KL.

    Every image has random numbers of its own, so its score depends on the seed and its place in the set alone.

    Raises:
        DataError: no images, or of another number of levels than the model's.
        ConfigurationError: less than one draw.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(model.options.levels)
    if draws < 1:
        raise ConfigurationError(f"there must be at least 1 draw an image, got {draws}.")
    rows, device = [], model.log_stddev.device
    for start in range(0, len(images), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(images)))
        x_0 = levels_to_data(images.images(chosen), images.levels).to(device)
        generators = image_generators(seed, start, len(chosen), SCORING)
        shape = (len(chosen), model.options.latent)
        bounds = [elbo(model, x_0, standard_normal(shape, generators, x_0)) for _ in range(draws)]
        given = torch.stack([-bound.reconstruction for bound in bounds]).double().cpu()
        variance = given.var(0) / draws if draws > 1 else torch.full_like(given[0], math.nan)
        rows.append(torch.stack([given.mean(0), bounds[0].kl.double().cpu(), variance], 1))
        if progress is not None:
            progress(int(chosen[-1]) + 1, len(images))
    nats, variances = torch.cat(rows).split([2, 1], dim=1)
    num_dims = math.prod(images.shape)
    terms = bits_per_dim(nats, num_dims)
    scores = terms.sum(1)
    reconstruction, kl = terms.mean(0).tolist()
    return ELBOReport(
        total=reconstruction + kl,
        reconstruction=reconstruction,
        kl=kl,
        standard_error=scores.std().item() / math.sqrt(len(scores)) if len(scores) > 1 else math.nan,
        draw_error=bits_per_dim(variances.sum().sqrt() / len(images), num_dims).item(),
        scores=scores,
        num_images=len(images),
        num_dims=num_dims,
        levels=images.levels,
        draws=draws,
        decoder=model.options.decoder,
        stddev=model.stddev * (images.levels - 1) / 2,
    )
