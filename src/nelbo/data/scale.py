"""The scale of pixel values as they were measured: which value a level stands for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.names import AUTO, FULL, Range, check_quantum
from nelbo.display import Brief, counted
from nelbo.errors import ConfigurationError, DataError, option

MOST_LEVELS = 1 << 16
EXACT = 2.0**52  # quanta from 0 up to which float64 tells neighbouring levels from one another
MARGIN = 1 / 32  # of the range of the values found, on both sides, for images that are scored later
TOLERANCE = 1e-3  # quanta by which a value may lie beside a multiple of the quantum without being rounded


@dataclass(frozen=True)
class LevelScale(Brief):
    """Level k stands for the value low + k * quantum.

    Attributes:
        low: the value of level 0.
        quantum: the difference between the values of two levels.
        levels: K.
        dtype: the NumPy type of the values, such as "uint16".

    Raises:
        ConfigurationError: an invalid value, or more than 65,536 levels.
    """

    low: float
    quantum: float
    levels: int
    dtype: str

    def __post_init__(self) -> None:
        check_quantum(self.quantum)
        if not 2 <= self.levels <= MOST_LEVELS:
            raise ConfigurationError(
                f"{option('quantum', f'{self.quantum:.12g}')} makes {self.levels:,} levels from {self.low:.12g} to "
                f"{self.high:.12g}; expected 2 to {MOST_LEVELS:,}: choose a quantum of "
                f"{_coarser(self.quantum * (self.levels - 1) / (MOST_LEVELS - 1))} or more, or a smaller "
                f"{option('range')}."
            )

    @property
    def high(self) -> float:
        """The value of the last level."""
        return self.low + self.quantum * (self.levels - 1)

    @property
    def has_nan(self) -> bool:
        """Whether the type has NaN, which stands for missing pixels."""
        return np.dtype(self.dtype).kind == "f"

    @property
    def in_words(self) -> str:
        """Such as "uint16 values 0 to 4095 in steps of 1 are 4,096 levels"."""
        return (
            f"{self.dtype} values {self.low:.12g} to {self.high:.12g} in steps of {self.quantum:.12g} are "
            f"{self.levels:,} levels"
        )

    @classmethod
    def of(cls, values: Sequence[NDArray[Any]], range: Range | str, quantum: float) -> "LevelScale":
        """Return the scale of a set of values.

        Args:
            values: arrays of one type.
            range: the values of the first and the last level; "full" for all values of an integer type; "auto" for
                those found, and a margin of 1/32 of them on both sides within the type.
            quantum: the difference between the values of two levels.

        Raises:
            DataError: the values are of several types, of a type without numbers, or none is finite.
            ConfigurationError: the quantum is not above 0, or there would be more than 65,536 levels; or the values are
                so far from 0 that float64 cannot count them.
        """
        check_quantum(quantum)
        dtype = _one_type(values)
        first, last = type_range(dtype)
        if range == FULL and math.isinf(last):
            raise ConfigurationError(f"{option('range', FULL)} has no meaning for {dtype} values; give LOW,HIGH.")
        if isinstance(range, str):
            low, high = (first, last) if range == FULL else extremes(values)
            if range == AUTO:
                margin = MARGIN * (high - low)
                low, high = max(low - margin, first), min(high + margin, last)
        else:
            low, high = range
        if not (math.isfinite((high - low) / quantum) and abs(low / quantum) < EXACT):
            raise ConfigurationError(
                f"the values {low:.6g} to {high:.6g} are too far from 0 for a quantum of {quantum:.6g}: float64 cannot "
                f"count its multiples; choose a larger {option('quantum')}, or subtract a constant from the values."
            )
        low = quantum * math.floor(low / quantum + TOLERANCE)
        return cls(low, quantum, max(math.ceil((high - low) / quantum - TOLERANCE), 1) + 1, dtype.name)

    def to_levels(self, values: NDArray[Any], name: str, missing: NDArray[np.bool_] | None = None) -> Tensor:
        """Return the levels of values of any shape: uint8 if K is at most 256, else int32; 0 for missing pixels.

        Args:
            values: the values; NaN is missing.
            name: of the image, for messages.
            missing: bool of the same shape, true for further missing pixels; None for none.

        Raises:
            DataError: a value is infinite or outside of the scale.
        """
        exact = values.astype(np.float64)
        exact = np.where(np.isnan(exact) if missing is None else np.isnan(exact) | missing, self.low, exact)
        if not np.isfinite(exact).all():
            count = counted(int((~np.isfinite(exact)).sum()), "value that is", "values that are")
            raise DataError(f"{name} has {count} infinite; remove its image, or replace them by NaN: missing pixels.")
        levels = np.rint((exact - self.low) / self.quantum)
        if levels.size and (levels.min() < 0 or levels.max() >= self.levels):
            raise DataError(
                f"{name} has values from {exact.min():.12g} to {exact.max():.12g}, but the levels stand for "
                f"{self.low:.12g} to {self.high:.12g}; remove its image, or train with another {option('range')}."
            )
        return torch.from_numpy(levels.astype(np.uint8 if self.levels <= 256 else np.int32))

    def to_values(self, levels: Tensor, observed: Tensor | None = None) -> NDArray[Any]:
        """Return the values of levels of any shape, in the type of the scale; missing pixels are NaN.

        Args:
            levels: the levels.
            observed: bool that broadcasts against them, false for missing pixels; None for none.

        Raises:
            DataError: the type has no NaN.
        """
        exact = self.low + self.quantum * levels.cpu().numpy().astype(np.float64)
        dtype = np.dtype(self.dtype)
        if dtype.kind in "iu":  # the last level may lie beyond the type
            exact = np.clip(np.rint(exact), *type_range(dtype))
        found: NDArray[Any] = exact.astype(dtype)
        if observed is not None:
            if not self.has_nan:
                raise DataError(f"{self.dtype} has no value for missing pixels; write them as floating-point values.")
            found[~np.broadcast_to(observed.cpu().numpy(), found.shape)] = np.nan
        return found

    def rounds(self, values: NDArray[Any]) -> bool:
        """Return whether values lie between the levels, so that they are rounded to the nearest ones."""
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        places = (known.astype(np.float64) - self.low) / self.quantum
        return bool((np.abs(places - np.rint(places)) > TOLERANCE).any())


def type_range(dtype: np.dtype[Any]) -> Range:
    """Return the smallest and the largest value of a type; infinite for floating-point types."""
    if dtype.kind == "f":
        return -math.inf, math.inf
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _one_type(values: Sequence[NDArray[Any]]) -> np.dtype[Any]:
    found = sorted({array.dtype.name for array in values})
    if len(found) != 1 or values[0].dtype.kind not in "iuf":
        raise DataError(
            f"the images hold values of the {'type' if len(found) == 1 else 'types'} {', '.join(found)}; expected one "
            "type of integers or floating-point numbers."
        )
    return values[0].dtype


def extremes(values: Sequence[NDArray[Any]]) -> Range:
    """Return the smallest and the largest finite value of all arrays."""
    finite = [array[np.isfinite(array)] for array in values]
    if not any(array.size for array in finite):
        raise DataError("no value of the images is finite, so they have no range; check the data.")
    low = min(float(array.min()) for array in finite if array.size)
    return low, max(float(array.max()) for array in finite if array.size)


def _coarser(quantum: float) -> str:
    """Write a number rounded up to two digits."""
    digits = 1 - math.floor(math.log10(quantum))
    return f"{math.ceil(quantum * 10**digits) / 10**digits:.12g}"


def check_levels(images: Tensor, levels: int, name: str) -> None:
    """Raise a `DataError` if a pixel is not a level 0..K-1, with the value found."""
    if not 2 <= levels <= MOST_LEVELS:
        raise DataError(f"{name}: levels is {levels}; images have 2 to {MOST_LEVELS:,} levels.")
    if not images.numel() or levels == 256:
        return
    if (top := int(images.max())) >= levels:
        raise DataError(f"{name}: a pixel has the value {top}, but with {levels} levels the largest is {levels - 1}.")
    if (least := int(images.min())) < 0:
        raise DataError(f"{name}: a pixel has the value {least}; the smallest level is 0.")


def dtype_of(levels: int) -> torch.dtype:
    """Return the type of images of K levels."""
    return torch.uint8 if levels <= 256 else torch.int32
