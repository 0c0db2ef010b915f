"""Categorical KL: the worked example of the teeth of worms, and the four properties that the documentation states."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.errors import ShapeError
from nelbo.probability import categorical_entropy, categorical_kl

TEETH = torch.tensor([2, 3, 5, 14, 16, 15, 12, 8, 10, 8, 7], dtype=torch.float64) / 100
UNIFORM = torch.full((11,), 1 / 11, dtype=torch.float64)


def binomial(p: float) -> torch.Tensor:
    """Return Binomial(10, p) over 0..10."""
    return torch.tensor([math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(11)], dtype=torch.float64)


def tables(size: int = 6) -> st.SearchStrategy[torch.Tensor]:
    weights = st.lists(st.floats(1e-6, 1.0), min_size=size, max_size=size)
    return weights.map(lambda w: torch.tensor(w, dtype=torch.float64) / math.fsum(w))


def test_kl_of_worms():
    mean = float((TEETH * torch.arange(11)).sum())
    assert mean == pytest.approx(5.44)
    assert float(categorical_kl(TEETH, UNIFORM)) == pytest.approx(0.136680, abs=5e-7)
    assert float(categorical_kl(TEETH, binomial(mean / 10))) == pytest.approx(0.427350, abs=5e-7)


def test_published_binomial_table():
    published = [0.0004, 0.0046, 0.0249, 0.0792, 0.1653, 0.2367, 0.2353, 0.1604, 0.0718, 0.0190, 0.0023]
    assert binomial(0.544).tolist() == pytest.approx(published, abs=6e-5)


def test_kl_is_infinite_if_only_q_is_zero():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    assert float(categorical_kl(p, q)) == math.inf
    assert float(categorical_kl(q, p)) == pytest.approx(math.log(2))  # 0 log 0 = 0, and not symmetric


def test_entropy_of_certain_outcome_is_positive_zero():
    assert str(float(categorical_entropy(torch.tensor([1.0, 0.0])))) == "0.0"
    assert str(float(categorical_entropy(torch.tensor([1.0])))) == "0.0"


def test_tiny_q_is_finite():
    """For q = 1e-40, p / q overflows in float32."""
    q = torch.tensor([1.0, 1e-40])
    expected = 0.5 * math.log(0.5) + 0.5 * (math.log(0.5) - math.log(float(q[1])))
    assert float(categorical_kl(torch.tensor([0.5, 0.5]), q)) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, derandomize=True)
@given(tables(), tables())
def test_kl_is_zero_only_for_equal_tables(p: torch.Tensor, q: torch.Tensor):
    kl = float(categorical_kl(p, q))
    total_variation = 0.5 * float((p - q).abs().sum())
    assert kl >= 2 * total_variation**2 - 1e-14  # Pinsker's inequality
    assert float(categorical_kl(p, p)) == 0


def test_rounding_keeps_kl_nonnegative():
    """Two tables that differ in the tenth digit: the exact KL is about 1e-19, the rounding error of the sum 1e-17."""
    g = torch.Generator().manual_seed(0)
    for _ in range(200):
        p = torch.rand(5, generator=g, dtype=torch.float64)
        q = p * (1 + 1e-9 * torch.randn(5, generator=g, dtype=torch.float64))
        assert 0 <= float(categorical_kl(p / p.sum(), q / q.sum())) < 1e-15


@pytest.mark.parametrize("bad", [[0.5, 0.4], [1.5, -0.5], [math.nan, 1.0]])
def test_invalid_tables_are_refused(bad: list[float]):
    with pytest.raises(ShapeError, match="sum to 1"):
        categorical_kl(torch.tensor(bad), torch.tensor([0.5, 0.5]))


def test_entropy_and_kl_from_uniform():
    assert float(categorical_entropy(UNIFORM)) == pytest.approx(math.log(11))
    assert float(categorical_entropy(torch.tensor([1.0, 0.0]))) == 0
    assert float(categorical_kl(TEETH, UNIFORM)) == pytest.approx(math.log(11) - float(categorical_entropy(TEETH)))


def test_minimising_kl_is_maximising_likelihood():
    """For binomials, KL(p || q_theta) + E_p[log q_theta] is the constant -H(p), so both have the optimum mean/10."""
    grid = [theta / 1000 for theta in range(100, 900)]
    kl = torch.stack([categorical_kl(TEETH, binomial(theta)) for theta in grid])
    likelihood = torch.stack([(TEETH * binomial(theta).log()).sum() for theta in grid])
    torch.testing.assert_close(kl + likelihood, (-categorical_entropy(TEETH)).expand(len(grid)), rtol=0, atol=1e-12)
    assert grid[int(kl.argmin())] == grid[int(likelihood.argmax())] == 0.544
