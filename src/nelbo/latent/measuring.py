"""What is measured of a trained autoencoder on images: the scale of its latents, and one scale of p(x|z)."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.latent.autoencoder import Autoencoder, OneScale
from nelbo.latent.scale import LatentScale
from nelbo.latent.space import CHUNK
from nelbo.probability import levels_to_data
from nelbo.progress import Progress

MEASURED, DECODED = 2048, 256  # images from which the latents are measured, and images that are decoded for p(x|z)
CANDIDATES = torch.linspace(-7, 0.5, 61)  # of the logarithm of the scale of p(x|z)


@torch.no_grad()
def measure_scale(autoencoder: Autoencoder, images: ImageDataset, progress: Progress | None = None) -> LatentScale:
    """Measure the mean and the variance of each channel of z ~ q(z|x), over at most 2,048 images, without draws.

    Args:
        autoencoder: in evaluation mode.
        images: training images.
        progress: called with (images done, images in all).
    """
    some = images.spread(MEASURED)
    sums = torch.zeros(2, autoencoder.options.latent, dtype=torch.float64)
    for chosen in _chunks(len(some), progress):
        x_0 = levels_to_data(some.images(chosen).to(autoencoder.device), autoencoder.options.levels)
        q = autoencoder.posterior(x_0)
        for row, values in zip(sums, (q.mean, q.mean**2 + q.variance), strict=True):
            row += values.double().mean((2, 3)).sum(0).cpu()
    mean, square = sums / len(some)
    return LatentScale.of((mean, square)).to(autoencoder.device)


def _chunks(num: int, progress: Progress | None) -> Iterator[Tensor]:
    """Yield the numbers 0..num-1 in parts, and report each part that is done."""
    for chosen in torch.arange(num).split(CHUNK):
        yield chosen
        if progress is not None:
            progress(int(chosen[-1]) + 1, num)


@torch.no_grad()
def measure_pixel_scale(autoencoder: Autoencoder, images: ImageDataset) -> None:
    """Set the one scale of p(x|z) to the one with the largest likelihood, over at most 256 images.

    An autoencoder of another library has none. One with a scale for each pixel stays as it is.
    """
    if not isinstance(autoencoder.log_scale, OneScale):
        return
    some, candidates = images.spread(DECODED), CANDIDATES.to(autoencoder.device)
    sums = torch.zeros(len(candidates), dtype=torch.float64)
    for chosen in _chunks(len(some), None):
        x_0 = levels_to_data(some.images(chosen).to(autoencoder.device), autoencoder.options.levels)
        p = autoencoder.likelihood(autoencoder.posterior(x_0).mean)
        for place, candidate in enumerate(candidates):
            sums[place] += replace(p, scale=candidate.exp()).log_prob(x_0).double().sum().cpu()
    autoencoder.log_scale.value.copy_(candidates[sums.argmax()])
