"""The ELBO of a set of images: bits/dim with standard error, reconstruction and KL, and one score per image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import bits_per_dim
from nelbo.display import Scored, counted, with_error
from nelbo.errors import DataError
from nelbo.options import check_whole
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import SCORING, image_generators, standard_normal
from nelbo.vae.bound import elbo
from nelbo.vae.model import VAE


@dataclass(frozen=True)
class ELBOReport(Scored):
    """The negative ELBO of a set of images, in bits/dim. With the discretized decoder it is a bound on -log2 p(x).

    Attributes:
        total, reconstruction, kl: means over the images; total = reconstruction + kl.
        standard_error: of `total` as the mean over the population of the images; it covers the images and the draws.
        draw_error: standard error of `total` for these images; it covers the draws of z only. NaN with one draw each.
        scores: (N,) the total of each image, from its own draws.
        num_images: N.
        num_dims: dimensions of an image, C * H * W.
        levels: K of the images.
        draws: draws of z per image.
        decoder: "discretized" or "gaussian".
        stddev: of p(x|z), in levels.
        seed: of the draws.
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
    seed: int | None = None

    def summary(self) -> Mapping[str, str]:
        """Return the bound, its terms, and how they were drawn."""
        return {
            "negative ELBO": f"{with_error(self.total, self.standard_error)}, {counted(self.num_images, 'image')}",
            "terms": f"reconstruction {self.reconstruction:.4f}, KL {self.kl:.4f} bits/dim",
            "draws": f"{counted(self.draws, 'draw')} of z per image, seed {self.seed}",
            "decoder": f"{self.decoder}, stddev {self.stddev:.3g} levels",
        }

    def to_json(self) -> dict[str, Any]:
        """Return the values that `nelbo evaluate` writes as JSON, without the version."""
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
    progress: Progress | None = None,
) -> ELBOReport:
    """Estimate the ELBO of every image of a set, without bias, by the mean over draws of z with the exact KL.

    Every image has its own random numbers, so its score depends only on the seed and on its index in the set.

    Args:
        model: the VAE.
        images: the set.
        draws: draws of z per image.
        seed: seed of the draws.
        batch_size: images at once.
        progress: called with (images done, images in total).

    Raises:
        DataError: there are no images, or they have another number of levels than the model.
        ConfigurationError: `draws` is below 1.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(model.options.levels)
    check_whole("draws", draws)
    check_whole("batch_size", batch_size)
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
        seed=seed,
    )
