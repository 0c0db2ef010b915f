"""How far samples are from a distribution that is known: KL over bins, beside what chance alone would show."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.probability import categorical_kl
from nelbo.randomness import FLOOR, derived_seed


@dataclass(frozen=True)
class HistogramDivergence:
    """KL(known || samples) over bins, nats.

    Bins can only hide differences: the KL of the distributions themselves is at least the KL over bins.

    Attributes:
        raw: between the known masses and the histogram, which finitely many samples make too large.
        floor: the mean of `raw` over sets of as many samples that were drawn from the known masses themselves.
        spread: the standard deviation of `raw` over those sets.
        num_samples, num_bins: how many.
    """

    raw: float
    floor: float
    spread: float
    num_samples: int
    num_bins: int

    @property
    def nats(self) -> float:
        """`raw` less `floor`: unbiased for samples of the known distribution, and nearly so for what lies near it."""
        return self.raw - self.floor

    @property
    def z(self) -> float:
        """`nats` in units of `spread`: within -3..3 the samples cannot be told from the known distribution's."""
        return self.nats / self.spread


def histogram_divergence(masses: Tensor, counts: Tensor, *, repeats: int = 200, seed: int = 0) -> HistogramDivergence:
    """KL(masses || distribution of the samples) from their counts in the same bins, both of any one shape.

    The histogram has one pseudo-sample, spread evenly over the bins, so an empty bin makes the result large and not
    infinite: a missing mode of mass m costs about m log(number of samples).

    Raises:
        ShapeError: different shapes, or no sample.
    """
    if masses.shape != counts.shape or int(counts.sum()) == 0:
        raise ShapeError(
            f"counts {tuple(counts.shape)} of {int(counts.sum())} samples for masses {tuple(masses.shape)}."
        )
    p, n, num = masses.flatten().double(), counts.flatten(), int(counts.sum())
    generator = torch.Generator().manual_seed(derived_seed(seed, FLOOR))
    drawn = (torch.multinomial(p, num, replacement=True, generator=generator) for _ in range(repeats))
    null = torch.stack([_against(p, torch.bincount(draws, minlength=len(p))) for draws in drawn])
    return HistogramDivergence(float(_against(p, n)), float(null.mean()), float(null.std()), num, len(p))


def _against(p: Tensor, counts: Tensor) -> Tensor:
    return categorical_kl(p, (counts.double() + 1 / len(p)) / (counts.sum() + 1))


def coarser(table: Tensor, side: int) -> Tensor:
    """A square table (L, L) of masses or counts summed into (side, side) bins; `side` divides L."""
    block = len(table) // side
    return table.view(side, block, side, block).sum((1, 3))


def counts_of(levels: Tensor, num_levels: int) -> Tensor:
    """How many of the points (N, 2), integers 0..L-1, have each pair of levels: int64 (L, L)."""
    cell = levels[:, 0].long() * num_levels + levels[:, 1].long()
    return torch.bincount(cell, minlength=num_levels**2).view(num_levels, num_levels)
