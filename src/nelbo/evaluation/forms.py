"""One bound, several estimators: eq. 3's ratio along a path, eq. 5's exact KLs, and eq. 16 where the data is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import KnownBound, ReverseProcess, VariationalBound, bits_per_dim
from nelbo.errors import ConfigurationError, DataError
from nelbo.probability import Mixture, categorical_entropy, levels_to_data
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
    """The estimators on the same images.

    Attributes:
        ratio: eq. 3, log p_theta(x_{t-1}|x_t) / q(x_t|x_{t-1}) along whole paths.
        divergence: eq. 5, a KL at each t.
        standard_error: of the difference of the two means, from the draws alone: the images are the same.
        num_images, draws: draws an image and estimator; each is T calls of the network.
        known: eq. 16, these images taken as the whole distribution, or None.
        entropy: H(x_0) of that distribution, bits/dim, or None. It is a part of `known`.
    """

    ratio: FormEstimate
    divergence: FormEstimate
    standard_error: float
    num_images: int
    draws: int
    known: FormEstimate | None = None
    entropy: float | None = None

    @property
    def z(self) -> float:
        """How many standard errors apart the two means are."""
        return (self.ratio.bits_per_dim - self.divergence.bits_per_dim) / self.standard_error

    @property
    def known_z(self) -> float | None:
        """How many standard errors, of their own difference, eq. 16's mean is from eq. 5's."""
        if self.known is None:
            return None
        error = math.sqrt((self.known.variance + self.divergence.variance) / (self.num_images * self.draws))
        return (self.known.bits_per_dim - self.divergence.bits_per_dim) / error

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
    known: bool = False,
    draws: int = 2,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> FormsReport:
    """Draw the forms of the bound for every image, each with noise of its own.

    Args:
        known: take the images as the whole distribution of the data, so that eq. 16 can be had as well.

    Raises:
        DataError: no images.
        ConfigurationError: fewer than 2 draws, from which no variance can be told; eq. 16, which is the bound of
            p(x_0), with classes.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to compare the forms on.")
    if draws < 2:
        raise ConfigurationError(f"draws must be at least 2, got {draws}: one draw tells no variance.")
    if known and labels is not None:
        raise ConfigurationError("eq. 16 is here the bound of p(x_0): compare it without labels.")
    device, generator = reverse.schedule.alphas_bar.device, torch.Generator().manual_seed(derived_seed(seed, FORMS))
    bound, by_16 = VariationalBound(reverse), None
    if known:
        everything = levels_to_data(images.images(range(len(images))), reverse.levels).to(device)
        by_16 = KnownBound(reverse, Mixture.of_points(everything))
    rows: list[Tensor] = []
    for start in range(0, len(images), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(images)))
        x_0 = levels_to_data(images.images(chosen), reverse.levels).to(device)
        label = None if labels is None else labels[chosen].to(x_0.device)
        drawn = []
        for draw in range(draws):
            forms = [bound.ratio(x_0, generator, label), bound.terms(x_0, generator, label).total]
            if by_16 is not None:
                forms.append(by_16.terms(x_0, generator).total)
            drawn.append(torch.stack([form.double() for form in forms], 1))
            if progress is not None:
                progress(start * draws + len(chosen) * (draw + 1), len(images) * draws)
        rows.append(torch.stack(drawn, 1).cpu())
    num_dims = math.prod(images.shape)
    bits = bits_per_dim(torch.cat(rows), num_dims)  # (N, draws, forms)
    means, variances = bits.mean((0, 1)).tolist(), bits.var(1).mean(0).tolist()
    ratio, divergence, *third = (FormEstimate(*pair) for pair in zip(means, variances, strict=True))
    error = math.sqrt((ratio.variance + divergence.variance) / (len(images) * draws))
    report = FormsReport(ratio, divergence, error, len(images), draws)
    if by_16 is None:
        return report
    entropy = bits_per_dim(categorical_entropy(by_16.data.weights), num_dims)
    return replace(report, known=third[0], entropy=float(entropy))
