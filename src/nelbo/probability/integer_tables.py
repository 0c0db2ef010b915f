"""Integer tables of logistic distributions and of exp, a part of the file format: they never change within a version.

`decimal` rounds exp correctly on every machine (the General Decimal Arithmetic specification). libm does not.
"""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

TOTAL = 1 << 16  # of a cumulative table

SCALES, SCALES_AN_OCTAVE, LEAST_SCALE = 96, 8, -5  # 2^-5 .. 2^6.9 levels
LOGISTIC_STEPS, LOGISTIC_REACH, LOGISTIC_UNIT = (
    256,
    16,
    1 << 22,
)  # entries per unit, units on each side, and the integer that stands for 1
EXP_STEPS, EXP_REACH, EXP_UNIT = 256, 12, 1 << 16  # entries per unit, units, and the integer that stands for 1
LEVEL_PARTS = 16  # units of a mean in one level


@cache
def logistic_cdf() -> NDArray[np.int64]:
    """Return 1 / (1 + exp(-z)) for z = -16, -16 + 1/256, ..., 16, in units of 2^-22, rounded."""
    with localcontext() as context:
        context.prec = 30
        step = (Decimal(-1) / LOGISTIC_STEPS).exp()
        power, values = Decimal(LOGISTIC_REACH).exp(), []
        for _ in range(2 * LOGISTIC_REACH * LOGISTIC_STEPS + 1):
            values.append(int((LOGISTIC_UNIT / (1 + power)).to_integral_value()))
            power *= step
    return np.array(values, dtype=np.int64)


@cache
def exponentials() -> NDArray[np.int64]:
    """Return exp(-z) for z = 0, 1/256, ..., 12, in units of 2^-16, rounded."""
    with localcontext() as context:
        context.prec = 30
        values = [
            int((EXP_UNIT * (Decimal(-i) / EXP_STEPS).exp()).to_integral_value())
            for i in range(EXP_REACH * EXP_STEPS + 1)
        ]
    return np.array(values, dtype=np.int64)


@cache
def inverse_scales() -> NDArray[np.int64]:
    """Return for each scale 2^(i/8 - 5) levels the steps of the logistic table in 1/16 level, in units of 2^-16."""
    with localcontext() as context:
        context.prec = 30
        unit = Decimal(LOGISTIC_STEPS * 2**16) / LEVEL_PARTS
        octave = Decimal(2).ln() / SCALES_AN_OCTAVE
        values = [
            int((unit * (-octave * (i + LEAST_SCALE * SCALES_AN_OCTAVE)).exp()).to_integral_value())
            for i in range(SCALES)
        ]
    return np.array(values, dtype=np.int64)
