"""Normal distributions on the integers: whole masses, the right ones, and every mass found again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nelbo.probability.integer_gaussian import (
    LEAST,
    MASS,
    MOST,
    ROOT_2,
    SCALES,
    TWO,
    Z_REACH,
    Z_STEPS,
    IntegerGaussian,
    inverse_deviations,
    normal_cdf,
)

EVERY = np.arange(LEAST, MOST + 1)


def one(mean: int, scale: int, everywhere: bool) -> IntegerGaussian:
    """Return the same distribution for every integer."""
    return IntegerGaussian(np.full(len(EVERY), mean), np.full(len(EVERY), scale), everywhere)


def test_table_of_phi_is_rounded_correctly():
    places = np.arange(-Z_REACH * Z_STEPS, Z_REACH * Z_STEPS + 1) / Z_STEPS
    exact = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in places]) * MASS
    assert np.abs(normal_cdf() - exact).max() <= 0.5 + 1e-6
    assert (np.diff(normal_cdf()) >= 0).all()


def test_deviations():
    deviations = Z_STEPS * 2**16 / 64 / inverse_deviations()
    np.testing.assert_allclose(deviations, math.sqrt(2) * 2.0 ** (np.arange(SCALES) / 8), rtol=1e-4)
    assert deviations[ROOT_2] == pytest.approx(math.sqrt(2), rel=1e-5)
    assert deviations[TWO] == pytest.approx(2, rel=1e-5)


@given(st.integers(-64 * 150, 64 * 150), st.integers(0, SCALES - 1), st.booleans())
def test_masses_sum_to_one(mean, scale, everywhere):
    low, mass = one(mean, scale, everywhere).interval(EVERY)
    assert mass.sum() == MASS and low[0] == 0
    assert mass.min() >= (1 if everywhere else 0)
    np.testing.assert_array_equal(low[1:], np.cumsum(mass)[:-1])


@pytest.mark.parametrize("scale", [ROOT_2, TWO, 6, 24])
def test_masses_are_those_of_the_normal_distribution(scale):
    mean, deviation = 7.25, 2 ** (1 / 2 + scale / 8)
    edges = (np.arange(LEAST, MOST + 2) - 0.5 - mean) / deviation
    below = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in edges])
    _, mass = one(round(64 * mean), scale, False).interval(EVERY)
    rounding = 1 / Z_STEPS / math.sqrt(2 * math.pi)  # the largest density times a step of the table
    np.testing.assert_allclose(mass / MASS, np.diff(below), rtol=0, atol=rounding + 1e-6)


@given(st.integers(-5000, 5000), st.integers(0, SCALES - 1), st.booleans(), st.integers(0, MASS - 1))
def test_every_mass_is_found(mean, scale, everywhere, mass):
    distribution = IntegerGaussian(np.array([mean]), np.array([scale]), everywhere)
    found = distribution.find(np.array([mass]))
    low, size = distribution.interval(found)
    assert low[0] <= mass < low[0] + size[0]
