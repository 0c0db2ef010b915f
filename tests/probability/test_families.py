"""Fits to counts against SciPy's densities, against numerical maximisation, and the worked example of the worms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from nelbo.data import example_counts
from nelbo.errors import ConfigurationError, DataError
from nelbo.probability import FAMILIES, CountFit, entropy_of, mean_of, probabilities_of

WORMS = example_counts()
VALUES = torch.arange(11).numpy()


def test_worms_to_six_digits():
    observed = probabilities_of(WORMS)
    assert float(WORMS.sum()) == 100 and mean_of(WORMS) == pytest.approx(5.44)
    assert round(FAMILIES["uniform"](WORMS).divergence(observed), 6) == 0.136680
    binomial = FAMILIES["binomial"](WORMS)
    assert round(binomial.divergence(observed), 6) == 0.427350
    assert binomial.parameters == {"n": 10, "p": pytest.approx(0.544)}
    published = [0.0004, 0.0046, 0.0249, 0.0792, 0.1653, 0.2367, 0.2353, 0.1604, 0.0718, 0.0190, 0.0023]
    assert binomial.probabilities.tolist() == pytest.approx(published, abs=5e-5)
    assert entropy_of(WORMS) + 0.136680 == pytest.approx(math.log(11), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "pmf", "bounds"),
    [
        ("binomial", lambda k, p: stats.binom.logpmf(k, 10, p), (1e-3, 1 - 1e-3)),
        ("poisson", lambda k, rate: stats.poisson.logpmf(k, rate), (1e-3, 20)),
        ("geometric", lambda k, p: stats.geom.logpmf(k + 1, p), (1e-3, 1 - 1e-3)),
    ],
)
def test_fit_maximises_likelihood(name, pmf, bounds):
    """Numerical maximisation of the likelihood finds the closed form, which also minimises KL(observed || fit)."""
    found = optimize.minimize_scalar(lambda p: -(WORMS.numpy() * pmf(VALUES, p)).sum(), bounds=bounds, method="bounded")
    fit = FAMILIES[name](WORMS)
    assert list(fit.parameters.values())[-1] == pytest.approx(found.x, rel=1e-4)
    assert fit.probabilities.log().tolist() == pytest.approx(list(pmf(VALUES, found.x)), rel=1e-4, abs=1e-4)
    per_value = found.fun / 100 - entropy_of(WORMS)
    assert fit.divergence(probabilities_of(WORMS)) == pytest.approx(per_value, rel=1e-6)


def test_mass_beyond_the_table_is_counted():
    """A Poisson distribution has mass above the last value; the masses and `beyond` sum to 1."""
    fit = FAMILIES["poisson"](WORMS)
    assert fit.beyond == pytest.approx(float(stats.poisson.sf(10, 5.44)), rel=1e-9)
    assert FAMILIES["binomial"](WORMS).beyond == pytest.approx(0, abs=1e-12)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12).filter(any))
def test_kl_is_never_negative(counts):
    table = torch.tensor(counts, dtype=torch.float64)
    observed = probabilities_of(table)
    for fit in (family(table) for family in FAMILIES.values()):
        assert fit.divergence(observed) >= 0
    assert CountFit("itself", {}, observed).divergence(observed) == pytest.approx(0, abs=1e-12)


def test_impossible_values_make_kl_infinite():
    observed = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert CountFit("never 1", {}, torch.tensor([1.0, 0.0]).double()).divergence(observed) == math.inf


@pytest.mark.parametrize("counts", [[5.0, 0, 0], [0, 0, 7.0]])
def test_counts_at_one_value(counts):
    table = torch.tensor(counts, dtype=torch.float64)
    for name in ("binomial", "uniform") if counts[0] == 0 else FAMILIES:
        assert math.isfinite(FAMILIES[name](table).divergence(probabilities_of(table)))


def test_invalid_counts_are_refused():
    for counts in ([], [0.0, 0.0]):
        with pytest.raises(DataError, match="with a sum above 0"):
            probabilities_of(torch.tensor(counts))
    for counts in ([1.0, -1.0, 2.0], [1.0, math.inf], [1.0, math.nan]):
        with pytest.raises(ConfigurationError, match="finite and not negative"):
            probabilities_of(torch.tensor(counts))
    with pytest.raises(DataError, match="at least the values 0 and 1"):
        FAMILIES["binomial"](torch.tensor([3.0]))


@pytest.mark.parametrize("counts", [torch.zeros(0), torch.zeros(3), torch.ones(2, 2)])
def test_counts_that_are_no_distribution_are_refused(counts):
    with pytest.raises(DataError, match="must be one-dimensional with a sum above 0"):
        probabilities_of(counts)
