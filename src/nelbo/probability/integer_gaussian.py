"""Normal distributions on the integers, in integer tables: every machine computes the same masses.

The mass of an integer y is that of the interval from y - 1/2 to y + 1/2, in units of 2^-24. The tables are a part of
the archive's format: they never change within a version.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nelbo.display import Brief

MASS_BITS = 24
MASS = 1 << MASS_BITS  # the integer that stands for a mass of 1
MEAN_PARTS = 64  # units of a mean in one integer
LEAST, MOST = -128, 127  # the integers that have a mass
SCALES, SCALES_AN_OCTAVE = 48, 8  # standard deviations sqrt(2) * 2^0 .. sqrt(2) * 2^5.9
ROOT_2, TWO = 0, 4  # indices of the standard deviations sqrt(2) and 2
Z_STEPS, Z_REACH = 1024, 8  # entries of the table of Phi per standard deviation, and standard deviations
Z_UNIT = 1 << 12  # the integer that stands for one standard deviation, and the unit of `deviations`


@cache
def normal_cdf() -> NDArray[np.int64]:
    """Return Phi(z) for z = -8, -8 + 1/1024, ..., 8 in units of 2^-24, rounded."""
    upper: NDArray[np.int64] = np.load(Path(__file__).with_name("normal-cdf.npy")).astype(np.int64)
    return np.concatenate([MASS - upper[:0:-1], upper])


@cache
def inverse_deviations() -> NDArray[np.int64]:
    """Return for each standard deviation the steps of the table of Phi in 1/64, in units of 2^-16, rounded."""
    with localcontext() as context:
        context.prec = 30
        unit = Decimal(Z_STEPS * 2**16) / MEAN_PARTS
        values = [int((unit / deviation).to_integral_value()) for deviation in _deviations()]
    return np.array(values, dtype=np.int64)


@cache
def deviations() -> NDArray[np.int64]:
    """Return the standard deviations in units of 2^-12, rounded."""
    with localcontext() as context:
        context.prec = 30
        values = [int((deviation * Z_UNIT).to_integral_value()) for deviation in _deviations()]
    return np.array(values, dtype=np.int64)


def _deviations() -> list[Decimal]:
    octave = Decimal(2).ln() / SCALES_AN_OCTAVE
    return [Decimal(2).sqrt() * (octave * i).exp() for i in range(SCALES)]


@dataclass(frozen=True, eq=False)
class IntegerGaussian(Brief):
    """A normal distribution on the integers -128..127 for each of n numbers.

    Attributes:
        mean: (n,) in units of 1/64.
        scale: (n,) index of its standard deviation: sqrt(2) * 2^(scale/8).
        everywhere: whether every integer has a mass of at least 1, so that it can be coded.
    """

    mean: NDArray[np.int64]
    scale: NDArray[np.int64]
    everywhere: bool

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, part: slice) -> "IntegerGaussian":
        return IntegerGaussian(self.mean[part], self.scale[part], self.everywhere)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviations (n,)."""
        found: NDArray[np.float64] = deviations()[self.scale] / Z_UNIT
        return found

    def at(self, z: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the integer (n,) nearest to z (n,) standard deviations from the mean; z is in units of 2^-12."""
        parts = self.mean * (Z_UNIT**2 // MEAN_PARTS) + z * deviations()[self.scale]
        found: NDArray[np.int64] = np.clip(parts + Z_UNIT**2 // 2 >> 24, LEAST, MOST)
        return found

    def below(self, value: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the mass (n,) of all integers below `value` (n,) in -128..128."""
        z = (MEAN_PARTS * value - MEAN_PARTS // 2 - self.mean) * inverse_deviations()[self.scale] >> 16
        mass = normal_cdf()[np.clip(z + Z_REACH * Z_STEPS, 0, 2 * Z_REACH * Z_STEPS)]
        if self.everywhere:
            rank = value - LEAST
            mass = (mass * (MASS - (MOST - LEAST + 1)) >> MASS_BITS) + rank
        return np.where(value <= LEAST, 0, np.where(value > MOST, MASS, mass))

    def interval(self, value: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the mass below each integer (n,) and its own mass."""
        low = self.below(value)
        return low, self.below(value + 1) - low

    def find(self, mass: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the integer (n,) in whose interval each mass (n,) of 0..2^24 - 1 lies."""
        return bisected(self.below, mass, LEAST, MOST + 1)


def bisected(
    below: Callable[[NDArray[np.int64]], NDArray[np.int64]], mass: NDArray[np.int64], first: int, last: int
) -> NDArray[np.int64]:
    """Return for each mass (n,) the largest symbol in first..last - 1 below which the mass is not larger.

    Args:
        below: the mass below symbols (n,), rising.
    """
    low, high = np.full_like(mass, first), np.full_like(mass, last)
    for _ in range((last - first).bit_length()):
        middle = (low + high) // 2
        right = (below(middle) <= mass) & (high - low > 1)
        low, high = np.where(right, middle, low), np.where(right | (high - low <= 1), high, middle)
    return low
