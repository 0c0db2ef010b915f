"""DiagonalGaussian against SciPy, and the KL of two Gaussians against 50-digit arithmetic."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nelbo.probability import DiagonalGaussian, kl_divergence


def gaussian(mean: float, variance: float, dtype: torch.dtype = torch.float64) -> DiagonalGaussian:
    return DiagonalGaussian(torch.tensor([mean], dtype=dtype), torch.tensor([variance], dtype=dtype))


def exact_kl(q: DiagonalGaussian, p: DiagonalGaussian) -> float:
    """Return KL(q || p) of the exact values of the tensors."""
    with mpmath.workdps(50):
        numbers = (q.mean, q.variance, p.mean, p.variance)
        q_mean, q_var, p_mean, p_var = (mpmath.mpf(x.item()) for x in numbers)
        ratio = q_var / p_var
        return float((ratio - 1 - mpmath.log(ratio) + (q_mean - p_mean) ** 2 / p_var) / 2)


def test_log_prob_and_entropy():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    log_prob = gaussian(0.3, 0.04).log_prob(x)
    assert log_prob.tolist() == pytest.approx(stats.norm(0.3, 0.2).logpdf(x.numpy()).tolist(), rel=1e-12)
    assert float(gaussian(0.3, 0.04).entropy()) == pytest.approx(float(stats.norm(0.3, 0.2).entropy()), rel=1e-12)


def test_sample_has_the_moments():
    """100,000 draws, |z| < 4.5 for mean and variance: one false alarm in 70,000 seeds."""
    num = 100_000
    draws = gaussian(-0.7, 2.5).sample(torch.Generator().manual_seed(0), (num,))
    assert abs(float(draws.mean()) + 0.7) < 4.5 * math.sqrt(2.5 / num)
    assert abs(float(draws.var()) / 2.5 - 1) < 4.5 * math.sqrt(2 / num)


def test_sample_broadcasts_and_follows_its_generator():
    wide = DiagonalGaussian(torch.zeros(3, 1), torch.ones(1, 4))
    first, again = (wide.sample(torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (3, 4) and torch.equal(first, again) and first.unique().numel() == 12


EXCESSES = [0.0, 1e-15, -1e-12, 1e-8, -1e-5, 1e-3, -5e-3, 9.9e-3, 1.01e-2, -9.9e-3, 0.3, -0.5, -0.999, 10.0, 1e8]


@pytest.mark.parametrize("excess", EXCESSES)
@pytest.mark.parametrize("shift", [0.0, 1e-9, 0.3])
@pytest.mark.parametrize("variance", [1.0, 3e-7])
def test_kl_keeps_its_digits(excess: float, shift: float, variance: float):
    q, p = gaussian(shift, variance * (1 + excess)), gaussian(0.0, variance)
    assert float(kl_divergence(q, p)) == pytest.approx(exact_kl(q, p), rel=1e-10, abs=1e-40)


@pytest.mark.parametrize("excess", EXCESSES)
def test_kl_in_float32(excess: float):
    q, p = gaussian(0.0, 1 + excess, torch.float32), gaussian(0.0, 1.0, torch.float32)
    assert float(kl_divergence(q, p)) == pytest.approx(exact_kl(q, p), rel=5e-5, abs=1e-30)


@pytest.mark.parametrize(("ratio", "dtype"), [(1e-9, torch.float32), (1e-30, torch.float32), (1e-18, torch.float64)])
def test_kl_of_much_narrower_q_is_finite(ratio: float, dtype: torch.dtype):
    """log1p(ratio - 1) is -inf for a ratio below the machine epsilon, but value and gradient of the KL are finite."""
    p = gaussian(0.0, 1.0, dtype)
    q = DiagonalGaussian(torch.zeros(1, dtype=dtype), torch.tensor([ratio], dtype=dtype, requires_grad=True))
    kl = kl_divergence(q, p)
    assert float(kl.detach()) == pytest.approx(exact_kl(q, p), rel=1e-5)
    (gradient,) = torch.autograd.grad(kl.sum(), q.variance)
    assert float(gradient) == pytest.approx(0.5 * (1 - 1 / ratio), rel=1e-5)


positive = st.floats(1e-6, 1e6)


@settings(deadline=None, derandomize=True)
@given(st.floats(-10, 10), positive, st.floats(-10, 10), positive)
def test_kl_is_exact_and_never_negative(q_mean: float, q_variance: float, p_mean: float, p_variance: float):
    q, p = gaussian(q_mean, q_variance), gaussian(p_mean, p_variance)
    kl = float(kl_divergence(q, p))
    assert kl >= 0
    assert kl == pytest.approx(exact_kl(q, p), rel=1e-8, abs=1e-30)


def test_kl_is_the_mean_log_ratio():
    """50,000 draws, |z| < 4.5: one false alarm in 150,000 seeds."""
    q, p = gaussian(0.2, 0.5), gaussian(-0.1, 0.9)
    x = q.sample(torch.Generator().manual_seed(2), (50_000,))
    ratio = q.log_prob(x) - p.log_prob(x)
    z = (ratio.mean() - kl_divergence(q, p)) / (ratio.std() / math.sqrt(len(x)))
    assert abs(float(z)) < 4.5


def test_minimal_kl_is_maximal_likelihood():
    """KL(q || p) plus the expected log-likelihood under p of draws of q is -H(q) for every p."""
    q = gaussian(0.4, 0.3)
    for mean in (-1.0, 0.4, 2.0):
        for variance in (0.1, 0.3, 4.0):
            p = gaussian(mean, variance)
            likelihood = -0.5 * (math.log(2 * math.pi * variance) + (0.3 + (0.4 - mean) ** 2) / variance)
            assert float(kl_divergence(q, p)) + likelihood == pytest.approx(-float(q.entropy()), rel=1e-12)
