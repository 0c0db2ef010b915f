"""Divergence of samples from a known distribution: KL over bins, with its value for samples of that distribution."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.probability import categorical_kl
from nelbo.randomness import FLOOR, derived_seed


@dataclass(frozen=True)
class HistogramDivergence:
    """KL(known || samples) over bins, in nats.

    The KL over bins is at most the KL of the distributions, because bins can only hide differences.

    Attributes:
        raw: KL between the known masses and the histogram of the samples; too large for a finite number of samples.
        floor: mean of `raw` over sets of the same number of samples, drawn from the known masses.
        spread: standard deviation of `raw` over those sets.
        num_samples, num_bins: number of samples and of bins.
    """

    raw: float
    floor: float
    spread: float
    num_samples: int
    num_bins: int

    @property
    def nats(self) -> float:
        """`raw` - `floor`: unbiased for samples of the known distribution, nearly so for samples of a similar one."""
        return self.raw - self.floor

    @property
    def z(self) -> float:
        """`nats` / `spread`: within -3..3, the samples are consistent with the known distribution."""
        return self.nats / self.spread


def histogram_divergence(masses: Tensor, counts: Tensor, *, repeats: int = 200, seed: int = 0) -> HistogramDivergence:
    """Estimate KL(masses || distribution of the samples) from counts.

    One pseudo-sample is spread evenly over the bins, so an empty bin makes the result large instead of infinite: a
    missing mode of mass m costs about m log(number of samples).

    Args:
        masses: probability of each bin, in any shape.
        counts: number of samples in each bin, in the same shape.
        repeats: sets of samples drawn from `masses` for `floor` and `spread`.

    Raises:
        ShapeError: the shapes differ, or there are no samples.
    """
    if masses.shape != counts.shape or int(counts.sum()) == 0:
        raise ShapeError(
            f"got counts {tuple(counts.shape)} of {int(counts.sum())} samples for masses {tuple(masses.shape)}; "
            "expected equal shapes and at least one sample."
        )
    p, n, num = masses.flatten().double(), counts.flatten(), int(counts.sum())
    generator = torch.Generator().manual_seed(derived_seed(seed, FLOOR))
    drawn = (torch.multinomial(p, num, replacement=True, generator=generator) for _ in range(repeats))
    null = torch.stack([_against(p, torch.bincount(draws, minlength=len(p))) for draws in drawn])
    return HistogramDivergence(float(_against(p, n)), float(null.mean()), float(null.std()), num, len(p))


def _against(p: Tensor, counts: Tensor) -> Tensor:
    """Return KL(p || histogram with one pseudo-sample), nats."""
    return categorical_kl(p, (counts.double() + 1 / len(p)) / (counts.sum() + 1))


def coarser(table: Tensor, side: int) -> Tensor:
    """Sum a square table (L, L) of masses or counts into (side, side) bins; `side` must divide L."""
    block = len(table) // side
    return table.view(side, block, side, block).sum((1, 3))


def counts_of(levels: Tensor, num_levels: int) -> Tensor:
    """Count the points (N, 2), integers in 0..L-1, at each pair of levels: int64 (L, L)."""
    cell = levels[:, 0].long() * num_levels + levels[:, 1].long()
    return torch.bincount(cell, minlength=num_levels**2).view(num_levels, num_levels)
