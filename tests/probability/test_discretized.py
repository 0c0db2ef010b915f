"""Eq. 13 against 60-digit arithmetic: the masses, their tails and their gradients."""

import math

import mpmath
import pytest
import torch

from nelbo.probability import DiscretizedGaussian, levels_to_data, log_interval_mass

SIGMAS = [0.0, 0.4, 3.0, 8.0, 40.0, 1e3, 1e6]


def ends(level: int, levels: int, mean: float, stddev: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Return the ends of the bin of `level` in standard deviations; the edge bins extend to infinity."""
    x, half = mpmath.mpf(2 * level) / (levels - 1) - 1, mpmath.mpf(1) / (levels - 1)
    lower = -mpmath.inf if level == 0 else (x - half - mean) / stddev
    upper = mpmath.inf if level == levels - 1 else (x + half - mean) / stddev
    return lower, upper


def mass(lower: mpmath.mpf, upper: mpmath.mpf) -> mpmath.mpf:
    """Return Phi(upper) - Phi(lower), computed in the tail that keeps the digits."""
    if lower + upper < 0:
        lower, upper = -upper, -lower
    return (mpmath.erfc(lower / mpmath.sqrt(2)) - mpmath.erfc(upper / mpmath.sqrt(2))) / 2


def density(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.mpf(0) if mpmath.isinf(x) else mpmath.npdf(x)


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
@pytest.mark.parametrize("stddev", [0.02, 0.4, 3.0, 40.0])
def test_masses_sum_to_one(levels: int, stddev: float):
    mean = torch.tensor([-30.0, -1.0, -0.2987, 0.0, 1 / 3, 0.9991, 1.7], dtype=torch.float64)
    total = DiscretizedGaussian(mean, torch.full_like(mean, stddev**2), levels).log_probs().exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_narrow_masses_sum_to_one(levels: int):
    width = 2 / (levels - 1)
    mean = torch.linspace(-1.2, 1.2, 203, dtype=torch.float64)
    for fraction in (0.02, 0.3, 1.0):
        variance = torch.full_like(mean, (fraction * width) ** 2)
        total = DiscretizedGaussian(mean, variance, levels).log_probs().exp().sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", [17, 256])
def test_float32_data_falls_in_the_same_bins(levels: int):
    """x_0 in float32 is up to 6e-8 off its level. Its bin must be that of the level, or the masses don't sum to 1."""
    x_0 = levels_to_data(torch.arange(levels), levels)
    edges = x_0[:-1, None].double() + 1 / (levels - 1)  # at these means a gap between two bins would be visible
    narrow = DiscretizedGaussian(edges, torch.tensor(1e-3**2, dtype=torch.float64), levels)
    total = narrow.log_prob(x_0.expand(levels - 1, levels)).double().exp().sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("sigmas", [side * s for s in SIGMAS for side in (-1, 1)])
@pytest.mark.parametrize("place", ["bottom", "second", "middle", "top"])
def test_log_mass_and_gradients(levels: int, sigmas: float, place: str):
    """Relative errors of 1e-9 in log-mass and 1e-6 in gradients, up to a million standard deviations away."""
    level = {"bottom": 0, "second": min(1, levels - 1), "middle": levels // 2, "top": levels - 1}[place]
    stddev = 0.01
    x_0 = levels_to_data(torch.tensor([level]), levels, torch.float64)
    mean = (x_0 - sigmas * stddev).requires_grad_()
    variance = torch.tensor([stddev**2], dtype=torch.float64, requires_grad=True)
    log_mass = DiscretizedGaussian(mean, variance, levels).log_prob(x_0)
    by_mean, by_variance = torch.autograd.grad(log_mass.sum(), (mean, variance))

    with mpmath.workdps(60):
        sd = mpmath.sqrt(mpmath.mpf(variance.item()))
        lower, upper = ends(level, levels, mpmath.mpf(mean.item()), sd)
        exact = mass(lower, upper)
        moment = [0 if mpmath.isinf(end) else end * density(end) for end in (lower, upper)]
        exact_by_mean = float((density(lower) - density(upper)) / (sd * exact))
        exact_by_variance = float((moment[0] - moment[1]) / (2 * sd**2 * exact))
        exact_log = float(mpmath.log(exact))
    assert log_mass.item() == pytest.approx(exact_log, rel=1e-9, abs=1e-15)
    assert by_mean.item() == pytest.approx(exact_by_mean, rel=1e-6, abs=1e-9 / stddev)
    assert by_variance.item() == pytest.approx(exact_by_variance, rel=1e-6, abs=1e-9 / stddev**2)


@pytest.mark.parametrize("sigmas", [40.0, 1e3, 1e6])
def test_log_mass_has_no_floor_in_float32(sigmas: float):
    """The log-mass keeps falling as -sigmas^2/2, and its gradient points the mean towards the bin."""
    mean = torch.zeros(1, requires_grad=True)
    x_0 = levels_to_data(torch.tensor([200]), 256)
    stddev = float(x_0) / sigmas
    log_mass = DiscretizedGaussian(mean, torch.tensor([stddev**2]), 256).log_prob(x_0)
    (pull,) = torch.autograd.grad(log_mass.sum(), mean)
    near = (float(x_0) - 1 / 255) / stddev  # almost all of the mass is at the near end of the bin
    assert log_mass.item() == pytest.approx(-0.5 * near**2, rel=0.01)
    assert pull.item() == pytest.approx(near / stddev, rel=0.02)


def test_log_interval_mass_of_many_intervals():
    """Widths from 1e-6 to infinity: relative error of 1e-9 (absolute 1e-15 for a mass near 1)."""
    starts = [-1e4, -37.0, -5.0, -1.0, -1e-3, 0.0, 0.5, 2.0, 9.0, 300.0]
    pairs = [(a, a + w) for a in starts for w in (1e-6, 1e-2, 1.0, 30.0, math.inf)]
    pairs += [(-math.inf, b) for b in (-50.0, 0.0, 7.0)]
    lower, upper = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    with mpmath.workdps(60):
        exact = [float(mpmath.log(mass(mpmath.mpf(a), mpmath.mpf(b)))) for a, b in pairs]
    assert log_interval_mass(lower, upper).tolist() == pytest.approx(exact, rel=1e-9, abs=1e-15)


def test_sample_follows_the_masses():
    """200,000 draws over 17 levels, each count within 5 standard errors: one false alarm in 100,000 seeds."""
    num, levels = 200_000, 17
    decoder = DiscretizedGaussian(torch.full((num,), 0.71), torch.full((num,), 0.3**2), levels)
    draws = decoder.sample(torch.Generator().manual_seed(3))
    grid = levels_to_data(torch.arange(levels), levels)
    counts = (draws[:, None] - grid).abs().argmin(1).bincount(minlength=levels).double()
    assert float((draws[:, None] - grid).abs().amin(1).max()) < 1e-6  # every draw is a level
    p = DiscretizedGaussian(torch.tensor(0.71), torch.tensor(0.3**2), levels).log_probs().exp()
    seen = num * p > 20
    z = (counts - num * p) / (num * p * (1 - p)).sqrt()
    assert float(z[seen].abs().max()) < 5


def test_log_probs_equal_log_prob_per_level():
    mean, variance = torch.tensor([[0.2], [-3.0]]), torch.tensor([0.01, 0.5, 2.0])
    table = DiscretizedGaussian(mean, variance, 17).log_probs()
    assert table.shape == (2, 3, 17)
    for level in range(17):
        x_0 = levels_to_data(torch.full((2, 3), level), 17, torch.float64)
        torch.testing.assert_close(table[..., level], DiscretizedGaussian(mean, variance, 17).log_prob(x_0))
