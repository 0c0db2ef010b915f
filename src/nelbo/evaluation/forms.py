"""One bound, two estimators: eq. 3's ratio along a path, and eq. 5's exact KLs, into which the paper rewrites it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess, VariationalBound, bits_per_dim
from nelbo.errors import ConfigurationError, DataError
from nelbo.probability import levels_to_data
from nelbo.randomness import FORMS, derived_seed


@dataclass(frozen=True)
class FormEstimate:
    """One estimator over a set of images.

    Attributes:
        bits_per_dim: the mean over images and draws.
        variance: of one draw for a given image, in (bits/dim)^2, averaged over the images.
    """

    bits_per_dim: float
    variance: float


@dataclass(frozen=True)
class FormsReport:
    """Both estimators on the same images.

    Attributes:
        ratio: eq. 3, log p_theta(x_{t-1}|x_t) / q(x_t|x_{t-1}) along whole paths.
        divergence: eq. 5, a KL at each t.
        standard_error: of the difference of the two means, from the draws alone: the images are the same.
        num_images, draws: draws an image and estimator; each is T calls of the network.
    """

    ratio: FormEstimate
    divergence: FormEstimate
    standard_error: float
    num_images: int
    draws: int

    @property
    def z(self) -> float:
        """How many standard errors apart the two means are."""
        return (self.ratio.bits_per_dim - self.divergence.bits_per_dim) / self.standard_error

    @property
    def variance_ratio(self) -> float:
        """The variance of eq. 3's draws over that of eq. 5's: below 1 for a nearly exact model."""
        return self.ratio.variance / self.divergence.variance


@torch.no_grad()
def compare_forms(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    labels: Tensor | None = None,
    draws: int = 2,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> FormsReport:
    """Draw both forms of the bound for every image, each with noise of its own.

    Raises:
        DataError: no images.
        ConfigurationError: fewer than 2 draws, from which no variance can be told.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to compare the forms on.")
    if draws < 2:
        raise ConfigurationError(f"draws must be at least 2, got {draws}: one draw tells no variance.")
    bound, generator = VariationalBound(reverse), torch.Generator().manual_seed(derived_seed(seed, FORMS))
    rows: list[Tensor] = []
    for start in range(0, len(images), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(images)))
        x_0 = levels_to_data(images.images(chosen), reverse.levels).to(reverse.schedule.alphas_bar.device)
        label = None if labels is None else labels[chosen].to(x_0.device)
        pairs = []
        for draw in range(draws):
            pairs.append(torch.stack([bound.ratio(x_0, generator, label), bound.terms(x_0, generator, label).total], 1))
            if progress is not None:
                progress(start * draws + len(chosen) * (draw + 1), len(images) * draws)
        rows.append(torch.stack(pairs, 1).double().cpu())
    bits = bits_per_dim(torch.cat(rows), math.prod(images.shape))  # (N, draws, 2)
    variances = bits.var(1).mean(0)
    error = math.sqrt(float(variances.sum()) / (len(images) * draws))
    means = bits.mean((0, 1)).tolist()
    ratio, divergence = (FormEstimate(*pair) for pair in zip(means, variances.tolist(), strict=True))
    return FormsReport(ratio, divergence, error, len(images), draws)
