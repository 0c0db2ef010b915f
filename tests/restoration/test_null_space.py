"""The range-null-space constraint: what was measured comes back, and what that leaves of the exact posterior."""

import math

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import Calibrated, FixedSmall, NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.probability import data_to_levels, levels_to_data
from nelbo.randomness import image_generators
from nelbo.restoration import Average, Identity, Mask, NullSpace, held_to, unknown_variance
from nelbo.samplers import SAMPLERS, AncestralSampler, DDIMSampler, HeunSampler, Sampler
from tests.diffusion.oracle import GaussianData
from tests.restoration.oracle import CorrelatedData, matrix_of
from tests.restoration.test_operators import KEPT

FINE = NoiseSchedule.log_linear(1000, log_snr_max=15.0, log_snr_min=-10.5)
DATA = CorrelatedData.of()
NUM = 5_000


def shouting(x_t: Tensor, time: Tensor) -> Tensor:
    """A network that knows nothing."""
    return 0.3 * x_t


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("clip", [True, False])
def test_kept_pixels_come_back_to_the_level_by_every_sampler(kind: type[Sampler], steps: int, clip: bool):
    """All 256 levels, whatever the network says; in float32, as it is used."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    kept = torch.rand(16, 16, generator=torch.Generator().manual_seed(2)) < 0.5
    sampler = kind(ReverseProcess(shouting, FINE.strided(steps), clip=clip))
    x_0 = held_to(sampler, Mask(kept), levels_to_data(levels, 256)).sample((3, 1, 16, 16), image_generators(0, 0, 3))
    restored = data_to_levels(x_0, 256)
    assert torch.equal(restored[:, :, kept], levels.long().expand(3, -1, -1, -1)[:, :, kept])
    free = sampler.sample((3, 1, 16, 16), image_generators(0, 0, 3))
    assert not torch.equal(data_to_levels(free, 256)[:, :, kept], restored[:, :, kept])


def test_means_of_squares_are_kept():
    y = torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    process = ReverseProcess(DATA.network(FINE), FINE.strided(20))
    x_0 = held_to(AncestralSampler(process), Average(2), y).sample((5, 1, 4, 4), torch.Generator().manual_seed(1))
    torch.testing.assert_close(Average(2)(x_0.double()), y.expand(5, -1, -1, -1), atol=1e-5, rtol=0)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.double().flatten(1).mean(0), x.double().flatten(1).var(0)


def measured_draws(kind: type[Sampler], steps: int, damage, y: Tensor, **options) -> tuple[Tensor, Tensor]:
    process = ReverseProcess(DATA.network(FINE), FINE.strided(steps), variance=FixedSmall())
    sampler = held_to(kind(process, **options), damage, y)
    return moments(sampler.sample((NUM, 1, 4, 4), torch.Generator().manual_seed(3)))


def errors(found: tuple[Tensor, Tensor], exact: CorrelatedData, missing: Tensor) -> tuple[float, float, float]:
    """RMS error of the mean in posterior standard deviations; the smallest and largest ratio of variances."""
    mean, variance = found
    of = exact.covariance.diagonal()[missing]
    ratio = variance[missing] / of
    error = float(((mean[missing] - exact.mean[missing]) / of.sqrt()).square().mean().sqrt())
    return error, float(ratio.min()), float(ratio.max())


def test_how_near_the_exact_posterior_draws_come():
    """The constraint is an approximation where pixels hang together: figures of 400 steps, 5,000 draws.

    Means of squares: RMS error of the mean 0.105 posterior standard deviations, variances 0.98 to 1.00 of the exact
    ones. A mask, whose missing pixels hear of the kept ones through x_t only: 0.28, and 1.22 to 1.26. (A draw's mean
    has a standard error of 0.014, a variance one of 0.02; the prior's own mean is off by 1.1 and 0.7.)
    """
    x_0 = DATA.draw(1, torch.Generator().manual_seed(5))
    for damage, missing, error_within, ratio_within in (
        (Average(2), torch.ones(16, dtype=torch.bool), (0.05, 0.15), (0.93, 1.05)),
        (Mask(KEPT), ~KEPT.flatten(), (0.2, 0.35), (1.15, 1.32)),
    ):
        y, matrix = damage(x_0), matrix_of(damage)
        exact = DATA.given(matrix, y.flatten())
        error, low, high = errors(measured_draws(AncestralSampler, 400, damage, y), exact, missing)
        assert error_within[0] < error < error_within[1], (error, low, high)
        assert ratio_within[0] < low <= high < ratio_within[1], (error, low, high)
        unheard = float(((DATA.mean - exact.mean) / exact.covariance.diagonal().sqrt())[missing].square().mean().sqrt())
        assert unheard > 0.65


# ---- a noisy measurement


@pytest.mark.parametrize("damage", [Identity(), Average(2), Mask(KEPT)], ids=["identity", "average", "mask"])
@pytest.mark.parametrize("variance", [1.0, 0.25], ids=["unit", "calibrated"])
def test_of_white_data_a_noisy_measurement_gives_the_exact_conditional_mean(damage, variance: float):
    """E[x_0|x_t, y] by Gaussian conditioning on both, at every tenth t; no sampling."""
    data, noise = GaussianData(0.0, variance), 0.3
    chosen = FixedSmall() if variance == 1 else Calibrated(data.mse(FINE))
    process = ReverseProcess(data.network(FINE), FINE, variance=chosen)
    g = torch.Generator().manual_seed(0)
    x_t, matrix = torch.randn(1, 1, 4, 4, generator=g, dtype=torch.double), matrix_of(damage)
    y = damage(torch.randn(1, 1, 4, 4, generator=g, dtype=torch.double))
    held = held_to(AncestralSampler(process), damage, y, noise).reverse
    white = CorrelatedData(torch.zeros(16).double(), variance * torch.eye(16, dtype=torch.double))
    for t in range(1, 1001, 10):
        sigma = float(FINE.sigma[t])
        seen = white.given(torch.eye(16, dtype=torch.double), x_t.flatten() / float(FINE.signal[t]), sigma)
        exact = seen.given(matrix, y.flatten(), noise).mean
        found = held.predict(x_t, torch.tensor([t])).x_0.flatten()
        torch.testing.assert_close(found, exact, atol=1e-8, rtol=0)


def test_and_any_sampler_draws_the_exact_posterior_then():
    """White data, the flow in 1,000 steps, 160,000 pixels: mean within 4.5 standard errors (0.01), variance in 3%."""
    data, noise, y = GaussianData(0.3, 0.25), 0.3, 0.9
    process = ReverseProcess(data.network(FINE), FINE, variance=Calibrated(data.mse(FINE)))
    sampler = held_to(DDIMSampler(process), Identity(), torch.full((1, 1, 20, 20), y), noise)
    x_0 = sampler.sample((400, 1, 20, 20), torch.Generator().manual_seed(1)).double()
    gain = 0.25 / (0.25 + noise**2)
    variance = 0.25 * (1 - gain)
    assert abs(float(x_0.mean()) - (0.3 + gain * (y - 0.3))) < 4.5 * math.sqrt(variance / x_0.numel())
    assert float(x_0.var()) == pytest.approx(variance, rel=0.03)


def test_the_correction_fades_as_the_chain_knows_better():
    constraint = NullSpace(Average(2), torch.zeros(1, 1, 2, 2), 0.1, FINE.noise_variance)
    ones = torch.ones(3, 1, 4, 4)
    weights = 1 - constraint(ones, torch.tensor([1, 500, 1000]))[:, 0, 0, 0]
    assert float(weights[0]) < 1e-4 < float(weights[1]) < float(weights[2])
    assert float(weights[2]) == pytest.approx(1 / (1 + 0.2**2), rel=1e-4)  # noise / gain = 0.1 * 2


def test_what_is_unknown_is_read_at_the_networks_own_times():
    mse, stride = torch.arange(1001.0), FINE.strided(4)
    process = ReverseProcess(shouting, stride, variance=Calibrated(mse))
    assert unknown_variance(process).tolist() == [0, 250, 500, 750, 1000]
    assert torch.equal(unknown_variance(ReverseProcess(shouting, stride)), 1 - stride.alphas_bar)


def test_other_constraints_come_first():
    process = ReverseProcess(shouting, FINE.strided(2), constraints=(lambda x_0, t: torch.full_like(x_0, 0.25),))
    held = held_to(AncestralSampler(process), Mask(KEPT), torch.full((1, 1, 4, 4), -0.5)).reverse
    x_0 = held.predict(torch.zeros(1, 1, 4, 4), torch.tensor([2])).x_0
    assert torch.equal(x_0[0, 0], torch.where(KEPT, -0.5, 0.25))


def test_mistakes():
    y = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ConfigurationError, match="noise of what was measured must be 0 or more, got -1"):
        NullSpace(Identity(), y, -1)
    with pytest.raises(ConfigurationError, match="give `unknown`, or use `held_to`"):
        NullSpace(Identity(), y, 0.1)
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 4\) was measured, and the damage leaves \(2, 1, 2, 2\)"):
        NullSpace(Average(2), y)(torch.zeros(2, 1, 4, 4), torch.tensor([1, 1]))
    with pytest.raises(ShapeError, match=r"\(3, 1, 4, 4\) was measured"):
        NullSpace(Identity(), y.expand(3, -1, -1, -1))(torch.zeros(2, 1, 4, 4), torch.tensor([1, 1]))
    churned = HeunSampler(ReverseProcess(shouting, FINE.strided(2)), churn=1.0)
    held_to(churned, Identity(), y)
    with pytest.raises(ConfigurationError, match="leave --churn out"):
        held_to(churned, Identity(), y, 0.1)
