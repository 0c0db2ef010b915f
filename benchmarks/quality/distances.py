"""Distances between features of generated and of real images: kernel distance, density and coverage.

The kernel distance (KID, Binkowski et al. 2018) of nelbo is a mean over random subsets. This one uses all pairs of
images and has a bootstrap interval, as nelbo's Frechet distance has.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.errors import DataError, option
from nelbo.evaluation.frechet import CONFIDENCE, RESAMPLES
from nelbo.randomness import BOOTSTRAP, derived_seed

DEGREE, NEIGHBOURS, ROWS = 3, 5, 500


@dataclass(frozen=True)
class Interval:
    """A value and its bootstrap interval: the spread of the resampled values around their own mean."""

    value: float
    low: float
    high: float


def kernel_distance(generated: Tensor, reference: Tensor, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the squared kernel distance between features (N, D) and (M, D): unbiased, with the cubic kernel.

    The kernel is (x y / D + 1)^3. The distance is the mean kernel within each set, without the pairs of an image with
    itself, minus twice the mean kernel between the sets. A resample draws both sets with replacement. Near 0, the
    interval is too wide, by up to a factor of sqrt(3).

    Raises:
        DataError: a set has fewer than two images.
    """
    sets = [features.double() for features in (generated, reference)]
    if min(map(len, sets)) < 2:
        raise DataError("a kernel distance needs at least two images in each set.")
    generator = torch.Generator().manual_seed(derived_seed(seed, BOOTSTRAP, 2))
    x, y = sets
    counts_x, counts_y = (_counts(len(features), resamples, generator) for features in sets)
    within = [_within(features, counts) for features, counts in zip(sets, (counts_x, counts_y), strict=True)]
    between = _sums(x, y, counts_x, counts_y) / (len(x) * len(y))
    found = within[0] + within[1] - 2 * between
    value, draws = found[0], found[1:]
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(value + draws.quantile(q) - draws.mean()) for q in (tail, 1 - tail))
    return Interval(float(value), low, high)


def density_and_coverage(generated: Tensor, reference: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Return density and coverage of features (N, D) against reference features (M, D) (Naeem et al. 2020).

    Each reference image has a ball: up to the k-th nearest of the other reference images. Density is the mean number of
    balls that contain a generated image, divided by k: 1 on average for images of the same distribution, and more for
    images in dense regions only. Coverage is the share of the balls that contain a generated image.

    Raises:
        DataError: there are no more than k reference images.
    """
    if len(reference) <= k:
        raise DataError(
            f"density and coverage compare with the {k} nearest of the other images, so they need more than {k} "
            f"reference images, got {len(reference)}; raise {option('num')}."
        )
    generated, reference = generated.double(), reference.double()
    inside, covered = 0, 0
    for rows in torch.arange(len(reference)).split(ROWS):
        apart = torch.cdist(reference[rows], reference)
        apart[torch.arange(len(rows)), rows] = torch.inf
        radius = apart.kthvalue(k, dim=1, keepdim=True).values
        contains = torch.cdist(reference[rows], generated) < radius
        inside += int(contains.sum())
        covered += int(contains.any(1).sum())
    return inside / (k * len(generated)), covered / len(reference)


def _counts(num: int, resamples: int, generator: torch.Generator) -> Tensor:
    """Return how often each image is drawn, (num, 1 + resamples) float64: once in the first column."""
    drawn = torch.randint(num, (num, resamples), generator=generator)
    counts = torch.zeros(num, resamples, dtype=torch.float64).scatter_add_(0, drawn, torch.ones(drawn.shape).double())
    return torch.cat([torch.ones(num, 1, dtype=torch.float64), counts], 1)


def _within(x: Tensor, counts: Tensor) -> Tensor:
    """Return the mean kernel over the pairs of different draws, one for each column of `counts`."""
    own = counts.T @ _kernel((x * x).sum(1), x.shape[1])
    return (_sums(x, x, counts, counts) - own) / (len(x) * (len(x) - 1))


def _sums(x: Tensor, y: Tensor, counts_x: Tensor, counts_y: Tensor) -> Tensor:
    """Return the sum of the kernel over all pairs of draws, one for each column of the counts."""
    total = torch.zeros(counts_x.shape[1], dtype=torch.float64)
    for rows in torch.arange(len(x)).split(ROWS):
        kernel = _kernel(x[rows] @ y.T, x.shape[1])
        total += (counts_x[rows] * (kernel @ counts_y)).sum(0)
    return total


def _kernel(products: Tensor, num_features: int) -> Tensor:
    return (products / num_features + 1) ** DEGREE
