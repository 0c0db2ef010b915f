"""Which images are unusual: conformal p-values against held-out images, and decisions on many images together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.display import Brief, Frame, Scored, counted, data_frame
from nelbo.errors import ConfigurationError, DataError, NelboWarning, ShapeError, option, warn
from nelbo.evaluation.decision_options import BOTH, UPPER, DecisionOptions

SLACK = 1e-12  # relative: a rational p-value that equals its threshold is rounded several times


class DecisionWarning(NelboWarning):
    """The held-out images are too few to flag a single image."""


@dataclass(frozen=True, eq=False)
class PValues(Brief):
    """Conformal p-values of N images.

    Attributes:
        upper: (N,) float64, small where a score is among the highest.
        lower: (N,) float64, small where a score is among the lowest.
    """

    upper: Tensor
    lower: Tensor

    @property
    def two_sided(self) -> Tensor:
        """(N,) float64, min(1, 2 min(upper, lower)): small where a score is among the highest or the lowest."""
        return (2 * torch.minimum(self.upper, self.lower)).clamp(max=1)


@dataclass(frozen=True, eq=False)
class Surprise(Brief):
    """How surprising N images are.

    Attributes:
        bits_per_dim: (N,) float64, the scores of the model.
        complexity: (N,) float64, bits/dim of a generic lossless compressor, or None to leave it out of the score.
    """

    bits_per_dim: Tensor
    complexity: Tensor | None = None

    @property
    def score(self) -> Tensor:
        """(N,) the bits of the model, less those of the compressor if there are any (Serra et al. 2020)."""
        return self.bits_per_dim if self.complexity is None else self.bits_per_dim - self.complexity


@dataclass(frozen=True, eq=False)
class Decisions(Scored):
    """Which of N images are unusual.

    Attributes:
        scores: (N,) float64, bits/dim of the model.
        complexity: (N,) float64, bits/dim of a generic lossless compressor that the p-values subtract from the scores;
            None if they do not.
        p_values: of each image alone.
        adjusted: (N,) float64, the p-values of `tails` adjusted by Benjamini-Hochberg.
        flagged: (N,) bool, where `adjusted` is at most `fdr`.
        fdr: the false discovery rate: the expected share of usual images among the flagged ones is at most this.
        tails: "upper" flags high scores, "both" also low ones.
        num_held_out: number of held-out images behind the p-values.
    """

    scores: Tensor
    complexity: Tensor | None
    p_values: PValues
    adjusted: Tensor
    flagged: Tensor
    fdr: float
    tails: str
    num_held_out: int

    @property
    def deciding(self) -> Tensor:
        """(N,) the p-values of `tails`."""
        return self.p_values.upper if self.tails == UPPER else self.p_values.two_sided

    @property
    def smallest(self) -> float:
        """The smallest p-value that so many held-out images can give, with the `tails` of the decisions."""
        return min((1 if self.tails == UPPER else 2) / (self.num_held_out + 1), 1.0)

    @property
    def fewest(self) -> int:
        """The smallest number of images that can be flagged together; more than N if none can be."""
        return max(math.ceil(len(self.scores) * self.smallest / self.fdr * (1 - SLACK)), 1)

    @property
    def enough(self) -> int:
        """The number of held-out images from which on a single one of the N images can be flagged."""
        return math.ceil((1 if self.tails == UPPER else 2) * len(self.scores) / self.fdr * (1 - SLACK)) - 1

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of plain values for each image, in order.

        `p_value` is that of the upper tail; `adjusted` belongs to the p-value of `tails`.
        """
        columns: dict[str, list[Any]] = {"bits_per_dim": self.scores.tolist()}
        if self.complexity is not None:
            columns["complexity"] = self.complexity.tolist()
        columns["p_value"] = self.p_values.upper.tolist()
        columns["p_two_sided"] = self.p_values.two_sided.tolist()
        columns |= {"adjusted": self.adjusted.tolist(), "flagged": self.flagged.tolist()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def summary(self) -> Mapping[str, str]:
        """Return how many images are flagged, and by what."""
        tails = "high scores" if self.tails == UPPER else "high and low scores"
        less = "" if self.complexity is None else ", less the bits of a generic compressor"
        return {
            "flagged": f"{int(self.flagged.sum()):,} of {counted(len(self.scores), 'image')}, {tails}{less}",
            "false discovery rate": f"at most {self.fdr:g}",
            "compared with": counted(self.num_held_out, "held-out image"),
        }

    def to_pandas(self) -> Frame:
        """Return a data frame of pandas: one row for each image, see `rows`.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame([{"image": i, **row} for i, row in enumerate(self.rows())])

    def to_json(self) -> dict[str, Any]:
        """Return what the decisions depend on as plain values; `rows` has the images."""
        return {"fdr": self.fdr, "tails": self.tails, "num_held_out": self.num_held_out}


def conformal_p_values(scores: Tensor, held_out: Tensor) -> PValues:
    """Return the conformal p-values of scores: upper = (1 + #{held_out >= score}) / (n + 1), and lower with <=.

    If an image comes from the same distribution as the n held-out images and is scored in the same way, its p-value is
    at most u with a probability of at most u, for every u and every model (Vovk et al. 2005; a tie counts as at
    least as surprising). Of the two-sided p-value the same holds.

    >>> found = conformal_p_values(torch.tensor([5.0, 2.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    >>> found.upper.tolist(), found.lower.tolist()
    ([0.2, 0.8], [1.0, 0.6])

    Args:
        scores: (N,) one score for each image.
        held_out: (n,) the scores of images that were used for nothing else.

    Raises:
        ShapeError: tensors of another number of dimensions.
        DataError: no held-out score, or one that is NaN.
    """
    for name, values in (("scores", scores), ("held-out scores", held_out)):
        if values.ndim != 1:
            raise ShapeError(f"the {name} have the shape {tuple(values.shape)}; expected one score for each image.")
    if len(held_out) == 0:
        raise DataError("p-values need the scores of held-out images, and there are none; give at least one.")
    if missing := int(held_out.isnan().sum()):
        raise DataError(
            f"{missing} of {counted(len(held_out), 'held-out score')} are NaN, so p-values cannot be computed; train "
            "the model again or choose another one."
        )
    ordered, values = held_out.double().sort().values, scores.double().contiguous()
    at_least = len(ordered) - torch.searchsorted(ordered, values)
    at_most = torch.searchsorted(ordered, values, right=True)
    return PValues(*((1 + count.double()) / (len(ordered) + 1) for count in (at_least, at_most)))


def benjamini_hochberg(p_values: Tensor) -> Tensor:
    """Adjust p-values for their number: (N,) float64, min over j >= i of min(1, N p_(j) / j) for the i-th smallest.

    Flagging what is at most alpha keeps the expected share of false discoveries at most alpha (Benjamini & Hochberg
    1995). The theorem needs independent p-values, or positively dependent ones, as one-sided conformal p-values of the
    same held-out images are (Bates et al. 2023).

    >>> benjamini_hochberg(torch.tensor([0.125, 0.5, 0.25])).tolist()
    [0.375, 0.5, 0.375]

    Args:
        p_values: (N,) within 0..1.
    """
    ordered, order = p_values.double().sort(stable=True)
    ranks = torch.arange(1, len(ordered) + 1, dtype=torch.float64)
    smallest = (ordered * len(ordered) / ranks).flip(0).cummin(0).values.flip(0).clamp(max=1)
    adjusted = torch.empty_like(smallest)
    adjusted[order] = smallest
    return adjusted


def conformal_decisions(images: Surprise, held_out: Surprise, *, fdr: float = 0.05, tails: str = BOTH) -> Decisions:
    """Decide which images are unusual, at a false discovery rate.

    Args:
        images: the images to decide on.
        held_out: held-out images, measured in the same way.
        fdr: the false discovery rate, between 0 and 1.
        tails: "upper" flags images with a high score, "both" also those with a low one, which are too simple.

    Raises:
        ConfigurationError: an invalid `fdr` or `tails`, or a complexity of one side only.
        DataError: see `conformal_p_values`.

    Warns:
        DecisionWarning: no single image can be flagged, because the smallest possible p-value is above `fdr` / N.
    """
    DecisionOptions(fdr=fdr, tails=tails)  # checks them
    if (images.complexity is None) != (held_out.complexity is None):
        raise ConfigurationError(
            f"{option('complexity')} is given for one of images and held-out images only; give it for both or neither."
        )
    p_values = conformal_p_values(images.score, held_out.score)
    adjusted = benjamini_hochberg(p_values.upper if tails == UPPER else p_values.two_sided)
    flagged = adjusted <= fdr * (1 + SLACK)
    num = len(held_out.bits_per_dim)
    found = Decisions(images.bits_per_dim, images.complexity, p_values, adjusted, flagged, fdr, tails, num)
    if found.fewest > 1:
        warn(_too_coarse(found), DecisionWarning)
    return found


def _too_coarse(found: Decisions) -> str:
    """Say what the p-values of few held-out images cannot show."""
    possible = f"images only in groups of at least {found.fewest:,}" if found.fewest <= len(found.scores) else "none"
    return (
        f"p-values from {counted(found.num_held_out, 'held-out image')} are at least {found.smallest:.2g}, so "
        f"{option('fdr', f'{found.fdr:g}')} can flag {possible} among {counted(len(found.scores), 'image')}; give "
        f"{found.enough:,} held-out images by {option('num_held_out')} and {option('data')}, score fewer images, or "
        f"raise {option('fdr')}."
    )
