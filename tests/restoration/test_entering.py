"""Walks that start in the middle of the chain, denoising and editing, against Gaussian posteriors."""

import math

import pytest
import torch

from nelbo.diffusion import Calibrated, FixedSmall, NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, ScheduleError
from nelbo.randomness import image_generators
from nelbo.restoration import Restoration, denoise, denoising, edit, entering, entry_step, posterior_mean
from nelbo.samplers import AncestralSampler
from nelbo.samplers.sampler import end_of
from tests.restoration.oracle import CorrelatedData
from tests.restoration.test_null_space import moments

FINE = NoiseSchedule.log_linear(1000, log_snr_max=15.0, log_snr_min=-10.5)
DATA = CorrelatedData.of()
EYE = torch.eye(16, dtype=torch.double)
PROCESS = ReverseProcess(DATA.network(FINE), FINE, variance=FixedSmall())
NUM = 5_000


@pytest.mark.parametrize(
    ("t", "steps", "kept"),
    [
        (1000, 4, [250, 500, 750, 1000]),
        (400, 4, [100, 200, 300, 400, 1000]),
        (3, 10, [1, 2, 3, 1000]),
        (1, 1, [1, 1000]),
    ],
)
def test_stride_includes_t(t: int, steps: int, kept: list[int]):
    sampler, place = entering(AncestralSampler(PROCESS), t, steps)
    schedule = sampler.reverse.schedule
    assert schedule.timesteps[1:].tolist() == kept
    assert int(schedule.timesteps[place]) == t and place == min(steps, t)
    assert torch.equal(schedule.alphas_bar[1:], FINE.alphas_bar[torch.tensor(kept)])


def test_all_steps_are_taken_by_default():
    sampler, place = entering(AncestralSampler(PROCESS), 7)
    assert sampler.reverse.schedule.timesteps.tolist() == [*range(8), 1000] and place == 7


def test_entry_is_the_first_step_with_enough_noise():
    for t in (1, 2, 500, 1000):
        assert entry_step(FINE, float(FINE.sigma[t])) == t
        assert t == 1000 or entry_step(FINE, float(FINE.sigma[t]) * 1.0001) == t + 1
    assert entry_step(FINE, 1e-9) == 1


def test_missing_noise_is_added(monkeypatch: pytest.MonkeyPatch):
    """With z = 1 the first x_t is sqrt(abar) (y + sqrt(sigma_t^2 - sigma^2)), which has the noise of an x_t."""
    monkeypatch.setattr(denoising, "standard_normal", lambda shape, generator, like: torch.ones_like(like))
    sigma = float(FINE.sigma[400]) * 0.995
    y = torch.full((1, 1, 4, 4), 0.2, dtype=torch.double)
    first = next(denoise(AncestralSampler(PROCESS), y, sigma, torch.Generator().manual_seed(0), steps=5))
    t = entry_step(FINE, sigma)
    missing = math.sqrt(float((1 - FINE.alphas_bar[t]) / FINE.alphas_bar[t]) - sigma**2)
    assert missing > 0 and first.t == 5
    torch.testing.assert_close(first.x_t, FINE.alphas_bar[t].sqrt() * (y + missing), atol=1e-12, rtol=0)


def test_posterior_mean_is_exact_at_steps():
    """It is exact where sigma equals the sigma of a step; between two steps the error is below 0.02."""
    y = DATA.draw(3, torch.Generator().manual_seed(1)) + 0.1
    for t in (100, 400, 700):
        for factor, tolerance in ((1.0, 1e-9), (0.995, 0.02)):
            sigma = float(FINE.sigma[t]) * factor
            found = posterior_mean(PROCESS, y, sigma).flatten(1)
            exact = torch.stack([DATA.given(EYE, each.flatten(), sigma).mean for each in y])
            assert float((found - exact).abs().max()) < tolerance


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_posterior_mean_is_exact_below_the_chain(share: float):
    """Independent Gaussian pixels, whose network, calibration and posterior are known; the chain ends at sigma 0.14."""
    schedule, power = NoiseSchedule.log_linear(100, log_snr_max=4.0, log_snr_min=-10.0), 0.03
    sigma = schedule.sigma[1:].square()
    mse = torch.cat([torch.zeros(1, dtype=torch.double), power * sigma / (power + sigma)])

    def network(x_t: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """Return the noise of x_t for x_0 ~ N(0, power)."""
        abar = schedule.alphas_bar[t].view(-1, 1, 1, 1)
        return (1 - abar).sqrt() * x_t / (abar * power + 1 - abar)

    reverse = ReverseProcess(network, schedule, variance=Calibrated(mse))
    y = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double) / 5
    below = share * float(schedule.sigma[1])
    exact = y * power / (power + below**2)
    torch.testing.assert_close(posterior_mean(reverse, y, below), exact, atol=1e-9, rtol=0)
    [only] = denoise(AncestralSampler(reverse), y, below, torch.Generator().manual_seed(0))
    assert only.t == 0 and torch.equal(only.x_0, posterior_mean(reverse, y, below))
    uncalibrated = ReverseProcess(network, schedule, variance=FixedSmall())
    between = (posterior_mean(uncalibrated, y, below) - exact) * (y - exact)
    assert bool((between >= 0).all())  # it removes less, not more


@pytest.mark.parametrize("sigma", [0.2, 0.6])
def test_denoised_draws_have_the_posterior_moments(sigma: float):
    """5,000 draws in 400 steps: means within 4.5 standard errors (one false alarm in 5,000), covariances within 9% of
    the variance (4 standard errors, plus the error of the chain itself)."""
    y = DATA.draw(1, torch.Generator().manual_seed(2)) + 0.1
    exact = DATA.given(EYE, y.flatten(), sigma)
    walk = denoise(AncestralSampler(PROCESS), y.expand(NUM, -1, -1, -1), sigma, torch.Generator().manual_seed(0), 400)
    x_0 = end_of(walk).double().flatten(1)
    scale = exact.covariance.diagonal().sqrt()
    assert float(((x_0.mean(0) - exact.mean) / scale).abs().max()) < 4.5 / math.sqrt(NUM)
    off = (torch.cov(x_0.T) - exact.covariance) / scale.outer(scale)
    assert float(off.abs().max()) < 0.09


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_edit_has_the_law_and_covariance_of_data(strength: float):
    """x_0' ~ p(x_0|x_t) has the law of x_0, and Cov(x_0', x_0) = abar S (abar S + (1 - abar) I)^-1 S.

    Within 4.5 standard errors of the mean, the variance (2%, plus 2% for the chain) and the covariance (at least 1.4%).
    """
    x_0 = DATA.draw(NUM, torch.Generator().manual_seed(4))
    walk = edit(AncestralSampler(PROCESS), x_0, strength, torch.Generator().manual_seed(5), 300)
    found = end_of(walk).double()
    mean, variance = moments(found)
    scale = DATA.covariance.diagonal()
    assert float(((mean - DATA.mean) / scale.sqrt()).abs().max()) < 4.5 / math.sqrt(NUM)
    assert float((variance / scale - 1).abs().max()) < 0.11
    abar = float(FINE.alphas_bar[round(1000 * strength)])
    expected = abar * DATA.covariance @ torch.linalg.inv(abar * DATA.covariance + (1 - abar) * EYE) @ DATA.covariance
    both = torch.cov(torch.cat([found.flatten(1), x_0.flatten(1)], 1).T)[:16, 16:]
    assert float(((both - expected) / 0.25).abs().max()) < 0.09


def test_strength_is_a_share_of_the_chain():
    for strength, first in ((1.0, 1000), (0.5, 500), (0.0001, 1)):
        walk = edit(AncestralSampler(PROCESS), torch.zeros(2, 1, 4, 4), strength, image_generators(0, 0, 2))
        assert next(walk).t == first


def test_restoration_has_mean_and_spread():
    draws = torch.tensor([[1, 2], [3, 2]], dtype=torch.uint8).view(2, 1, 1, 2)
    restoration = Restoration.of(draws)
    assert restoration.mean.flatten().tolist() == [2, 2]
    assert restoration.spread.flatten().tolist() == [math.sqrt(2), 0]
    assert Restoration.of(draws[:1]).spread.flatten().tolist() == [0, 0]
    assert Restoration.of(draws, torch.ones(1, 1, 2)).mean.tolist() == [[[1, 1]]]


def test_values_out_of_range_are_refused():
    sampler = AncestralSampler(PROCESS)
    for t in (0, 1001):
        with pytest.raises(ScheduleError, match=rf"can start at t = 1..1000, got t = {t}"):
            entering(sampler, t)
    with pytest.raises(ScheduleError, match="steps must be at least 1, got 0"):
        entering(sampler, 5, 0)
    for strength in (0, -1, 1.1, math.nan):
        with pytest.raises(ConfigurationError, match=r"^strength is a share of the chain"):
            edit(sampler, torch.zeros(1, 1, 4, 4), strength, None)
    for sigma in (0, -1, 1e4, math.nan):
        with pytest.raises(ConfigurationError, match="the noise of this model's x_T; change noise"):
            entry_step(FINE, sigma)
