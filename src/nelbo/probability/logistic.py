"""A mixture of logistic distributions over K levels, in integers: a pixel for coding, exact everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nelbo.display import Brief
from nelbo.probability.integer_gaussian import MASS, MASS_BITS, bisected
from nelbo.probability.integer_tables import (
    EXP_REACH,
    EXP_STEPS,
    LEVEL_PARTS,
    LOGISTIC_REACH,
    LOGISTIC_STEPS,
    LOGISTIC_UNIT,
    SCALES,
    TOTAL,
    exponentials,
    inverse_scales,
    logistic_cdf,
)

HALVES = 2  # places of a rounded xhat_0 in one level
NUMBERS = ("weight", "mean", "scale")  # of a mixture


@dataclass(frozen=True, eq=False)
class LogisticMixture(Brief):
    """A mixture over the K levels for each of n pixels, in integers (n, components).

    Attributes:
        weight: in units of the table of exp.
        mean: in sixteenths of a level.
        scale: index into the table of scales.
        levels: K.
    """

    weight: NDArray[np.int64]
    mean: NDArray[np.int64]
    scale: NDArray[np.int64]
    levels: int

    @classmethod
    def read(cls, output: NDArray[np.int64], center: NDArray[np.int64], levels: int) -> "LogisticMixture":
        """Build mixtures from the network's output (n, 3, components) and the rounded xhat_0 (n,) in half levels.

        Logits, shifts and log-scales are in units of 1/256. A shift of 1 is 4 levels, and a log-scale of 1 an octave.
        """
        logit, shift, scale = output[:, 0], output[:, 1], output[:, 2]
        mean = (LEVEL_PARTS // HALVES) * center[:, None] + (shift >> 2)
        return cls.of(logit, mean, (scale * 8 + 128 >> 8) + SCALES // 2, levels)

    @classmethod
    def of(
        cls, logit: NDArray[np.int64], mean: NDArray[np.int64], scale: NDArray[np.int64], levels: int
    ) -> "LogisticMixture":
        """Build mixtures from logits in units of 1/256, means in 1/16 of a level, and indices of scales, clipped."""
        behind = np.minimum((logit.max(1, keepdims=True) - logit) * EXP_STEPS // 256, EXP_REACH * EXP_STEPS)
        return cls(exponentials()[behind], mean, np.clip(scale, 0, SCALES - 1), levels)

    @classmethod
    def joined(cls, parts: "Sequence[LogisticMixture]") -> "LogisticMixture":
        """Return the mixtures of all pixels of parts with the same levels, in order."""
        weight, mean, scale = (np.concatenate([getattr(part, name) for part in parts]) for name in NUMBERS)
        return cls(weight, mean, scale, parts[0].levels)

    def cumulative(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cumulative table at levels (n, m) in 0..K: 0 at 0, 2^16 at K, rising by at least 1 a level."""
        mixed, weight = self._mixed(level)
        below = mixed * (TOTAL - self.levels) // (LOGISTIC_UNIT * weight) + level
        return np.where(level == 0, 0, np.where(level == self.levels, TOTAL, below))

    def _mixed(self, level: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the weighted sum of the components' masses below levels (n, m), and the sum (n, 1) of the weights."""
        edge = LEVEL_PARTS * level[:, :, None] - LEVEL_PARTS // 2
        middle = LOGISTIC_REACH * LOGISTIC_STEPS
        step = ((edge - self.mean[:, None]) * inverse_scales()[self.scale][:, None] >> 16) + middle
        mass = logistic_cdf()[np.clip(step, 0, 2 * middle)]
        return (mass * self.weight[:, None]).sum(2), self.weight.sum(1)[:, None]

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> "LogisticMixture":
        return LogisticMixture(self.weight[part], self.mean[part], self.scale[part], self.levels)

    def fine(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the mass below levels (n, m) in 0..K, in units of 2^-24; each level has at least 1."""
        mixed, weight = self._mixed(level)
        mass = mixed * (MASS // LOGISTIC_UNIT) // weight
        mass = (mass * (MASS - self.levels) >> MASS_BITS) + level
        return np.where(level <= 0, 0, np.where(level >= self.levels, MASS, mass))

    def below(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the mass (n,) of the levels below `level` (n,), see `fine`."""
        return self.fine(level[:, None])[:, 0]

    def interval(self, level: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the mass below each level (n,) and its own mass, in units of 2^-24."""
        low = self.below(level)
        return low, self.below(level + 1) - low

    def find(self, mass: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the level (n,) in whose interval each mass (n,) of 0..2^24 - 1 lies."""
        return bisected(self.below, mass, 0, self.levels)

    def tables(self, *, fine: bool = False) -> NDArray[np.int64]:
        """Return the table (n, K + 1) of every pixel, `cumulative` or `fine`."""
        levels = np.broadcast_to(np.arange(self.levels + 1), (len(self.mean), self.levels + 1))
        return self.fine(levels) if fine else self.cumulative(levels)

    def windows(self, num: int, *, fine: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return a part of every table, (n, min(num, K) + 1), at its heaviest component, and its first level (n,)."""
        num = min(num, self.levels)
        heaviest = np.take_along_axis(self.mean, self.weight.argmax(1)[:, None], 1)[:, 0]
        first = np.clip(heaviest // LEVEL_PARTS - num // 2, 0, self.levels - num)
        levels = first[:, None] + np.arange(num + 1)
        return (self.fine(levels) if fine else self.cumulative(levels)), first

    def expected(self) -> NDArray[np.float64]:
        """Return the mean level (n,), for previews and not for coding."""
        masses = np.diff(self.tables(), axis=1)
        return masses @ np.arange(self.levels) / TOTAL
