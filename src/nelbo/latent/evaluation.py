"""The bound of a latent diffusion model over images, term by term, without bias."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import bits_per_dim, sum_dims
from nelbo.errors import DataError
from nelbo.evaluation import measure_bound, num_strata
from nelbo.latent.process import ContinuousReverse
from nelbo.latent.report import TERMS, LatentReport
from nelbo.latent.set_of_latents import Latents
from nelbo.latent.space import LatentSpace
from nelbo.options import check_whole
from nelbo.progress import Progress
from nelbo.randomness import LATENT, derived_seed, image_generators, standard_normal


@torch.no_grad()
def evaluate_latent(
    space: LatentSpace,
    reverse: ContinuousReverse,
    images: ImageDataset,
    *,
    draws: int = 2,
    steps_per_image: int | None = 8,
    proposal: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> LatentReport:
    """Estimate the bound of every image of a set, without bias, from draws of z, t and noise of its own.

    An image's score depends only on the seed and on its index in the set.

    Args:
        space: the autoencoder and the scaling of its latents.
        reverse: the diffusion model of the scaled latents.
        images: the set.
        draws: draws of z per image, each with its own draws of t and noise.
        steps_per_image: values of t per draw of z; None evaluates every t. See `nelbo.evaluation.measure_bound`.
        proposal: (T+1,) weights of the values of t; None is uniform.
        seed: of the draws.
        batch_size: images at once.
        progress: called with (images done, images in total).

    Raises:
        DataError: there are no images, or they have another number of levels than the model.
        ConfigurationError: `draws`, `steps_per_image` or `batch_size` is no whole number, at least 1.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(space.autoencoder.options.levels)
    check_whole("draws", draws)
    check_whole("batch_size", batch_size)
    options = {"steps_per_image": steps_per_image, "proposal": proposal, "batch_size": batch_size}
    rows = []
    for start in range(0, len(images), batch_size):
        some = images.subset(torch.arange(start, min(start + batch_size, len(images))))
        seeds = [derived_seed(seed, LATENT, draw) for draw in range(draws)]
        rows.append(torch.stack([_terms(space, reverse, some, start, each, options) for each in seeds], 1))
        if progress is not None:
            progress(start + len(some), len(images))
    return _report(
        torch.cat(rows), space, reverse, images, num_strata(steps_per_image, reverse.schedule.num_steps), seed
    )


def _terms(
    space: LatentSpace,
    reverse: ContinuousReverse,
    images: ImageDataset,
    first: int,
    seed: int,
    options: Mapping[str, Any],
) -> Tensor:
    """Return the terms of a batch at one draw of z per image, (B, 6) float64 nats per image, as in `TERMS`.

    Args:
        first: index of the first image in the set that the batch is a part of.
        options: of `measure_bound`.
    """
    x_0 = space.data_of(images.images(range(len(images))))
    shape = (len(x_0), *space.autoencoder.options.latent_shape)
    noise = standard_normal(shape, image_generators(seed, first, len(x_0), LATENT), x_0)
    encoded = space.encode(x_0, noise)
    reconstruction = -sum_dims(space.decode(encoded.u).log_prob(x_0))
    measured = measure_bound(reverse, Latents(encoded.u, images), first=first, seed=seed, **options)
    chain = measured.terms * (math.prod(shape[1:]) * math.log(2))
    ends = [reconstruction, -sum_dims(encoded.q.entropy()), space.scale.log_jacobian(encoded.u)]
    reconstruction, encoder, scaling = (each.double().cpu()[:, None] for each in ends)
    return torch.cat([reconstruction, encoder, chain, scaling], 1)


def _report(
    nats: Tensor,
    space: LatentSpace,
    reverse: ContinuousReverse,
    images: ImageDataset,
    strata: int | None,
    seed: int,
) -> LatentReport:
    """Return the report of terms (N, draws, 6), nats per image."""
    num_dims, (num, draws, _) = math.prod(images.shape), nats.shape
    bits = bits_per_dim(nats, num_dims)
    by_draw = bits.sum(2)
    scores, terms = by_draw.mean(1), dict(zip(TERMS, bits.mean((0, 1)).tolist(), strict=True))
    spread = by_draw.var(1).sum().sqrt().item() / (num * math.sqrt(draws)) if draws > 1 else math.nan
    return LatentReport(
        total=math.fsum(terms.values()),
        **terms,
        standard_error=scores.std().item() / math.sqrt(num) if num > 1 else math.nan,
        draw_error=spread,
        scores=scores,
        num_images=num,
        num_dims=num_dims,
        levels=images.levels,
        num_steps=reverse.schedule.num_steps,
        latent_dims=math.prod(space.autoencoder.options.latent_shape),
        variance=reverse.variance.name,
        steps_per_image=reverse.schedule.num_steps - 1 if strata is None else strata,
        draws=draws,
        seed=seed,
    )
