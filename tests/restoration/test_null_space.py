"""The null-space constraint: draws agree with the measurement and come close to the exact posterior."""

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


def untrained(x_t: Tensor, time: Tensor) -> Tensor:
    """A network that has learned nothing."""
    return 0.3 * x_t


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("clip", [True, False])
def test_every_sampler_keeps_known_pixels_exactly(kind: type[Sampler], steps: int, clip: bool):
    """All 256 levels, for any prediction of the network, in float32 as in practice."""
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    kept = torch.rand(16, 16, generator=torch.Generator().manual_seed(2)) < 0.5
    sampler = kind(ReverseProcess(untrained, FINE.strided(steps), clip=clip))
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
    """Return the RMS error of the mean in posterior standard deviations, and the extreme ratios of variances."""
    mean, variance = found
    of = exact.covariance.diagonal()[missing]
    ratio = variance[missing] / of
    error = float(((mean[missing] - exact.mean[missing]) / of.sqrt()).square().mean().sqrt())
    return error, float(ratio.min()), float(ratio.max())


def test_draws_come_close_to_the_exact_posterior():
    """For correlated pixels the constraint is an approximation. Values for 400 steps and 5,000 draws:

    Means of squares: the RMS error of the mean is 0.105 posterior standard deviations, and the variances are 0.98 to
    1.00 of the exact ones. A mask, whose missing pixels depend on the kept ones through x_t only: 0.28, and 1.22 to
    1.26. (The mean has a standard error of 0.014, a variance one of 0.02. The prior's mean is off by 1.1 and 0.7.)
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
        of_prior = float(
            ((DATA.mean - exact.mean) / exact.covariance.diagonal().sqrt())[missing].square().mean().sqrt()
        )
        assert of_prior > 0.65


# ---- a noisy measurement


@pytest.mark.parametrize("damage", [Identity(), Average(2), Mask(KEPT)], ids=["identity", "average", "mask"])
@pytest.mark.parametrize("variance", [1.0, 0.25], ids=["unit", "calibrated"])
def test_noisy_measurement_of_white_data_is_exact(damage, variance: float):
    """E[x_0|x_t, y] equals Gaussian conditioning on both, at every tenth t, without sampling."""
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


def test_flow_draws_the_exact_posterior_of_white_data():
    """DDIM in 1,000 steps, 160,000 pixels: mean within 4.5 standard errors (0.01), variance within 3%."""
    data, noise, y = GaussianData(0.3, 0.25), 0.3, 0.9
    process = ReverseProcess(data.network(FINE), FINE, variance=Calibrated(data.mse(FINE)))
    sampler = held_to(DDIMSampler(process), Identity(), torch.full((1, 1, 20, 20), y), noise)
    x_0 = sampler.sample((400, 1, 20, 20), torch.Generator().manual_seed(1)).double()
    gain = 0.25 / (0.25 + noise**2)
    variance = 0.25 * (1 - gain)
    assert abs(float(x_0.mean()) - (0.3 + gain * (y - 0.3))) < 4.5 * math.sqrt(variance / x_0.numel())
    assert float(x_0.var()) == pytest.approx(variance, rel=0.03)


def test_correction_shrinks_towards_t_0():
    constraint = NullSpace(Average(2), torch.zeros(1, 1, 2, 2), 0.1, FINE.noise_variance)
    ones = torch.ones(3, 1, 4, 4)
    weights = 1 - constraint(ones, torch.tensor([1, 500, 1000]))[:, 0, 0, 0]
    assert float(weights[0]) < 1e-4 < float(weights[1]) < float(weights[2])
    assert float(weights[2]) == pytest.approx(1 / (1 + 0.2**2), rel=1e-4)  # noise / gain = 0.1 * 2


def test_unknown_variance_uses_the_networks_times():
    mse, stride = torch.arange(1001.0), FINE.strided(4)
    process = ReverseProcess(untrained, stride, variance=Calibrated(mse))
    assert unknown_variance(process).tolist() == [0, 250, 500, 750, 1000]
    assert torch.equal(unknown_variance(ReverseProcess(untrained, stride)), 1 - stride.alphas_bar)


def test_other_constraints_are_applied_first():
    process = ReverseProcess(untrained, FINE.strided(2), constraints=(lambda x_0, t: torch.full_like(x_0, 0.25),))
    held = held_to(AncestralSampler(process), Mask(KEPT), torch.full((1, 1, 4, 4), -0.5)).reverse
    x_0 = held.predict(torch.zeros(1, 1, 4, 4), torch.tensor([2])).x_0
    assert torch.equal(x_0[0, 0], torch.where(KEPT, -0.5, 0.25))


def test_wrong_noise_shapes_and_churn_are_refused():
    y = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ConfigurationError, match="noise of a measurement must be 0 or more, got -1"):
        NullSpace(Identity(), y, -1)
    with pytest.raises(ConfigurationError, match="pass `unknown`, or use `held_to`"):
        NullSpace(Identity(), y, 0.1)
    with pytest.raises(ShapeError, match=r"the shape \(1, 1, 4, 4\), but the damage produces \(2, 1, 2, 2\)"):
        NullSpace(Average(2), y)(torch.zeros(2, 1, 4, 4), torch.tensor([1, 1]))
    with pytest.raises(ShapeError, match=r"the measurement has the shape \(3, 1, 4, 4\)"):
        NullSpace(Identity(), y.expand(3, -1, -1, -1))(torch.zeros(2, 1, 4, 4), torch.tensor([1, 1]))
    churned = HeunSampler(ReverseProcess(untrained, FINE.strided(2)), churn=1.0)
    held_to(churned, Identity(), y)
    with pytest.raises(ConfigurationError, match="cannot be combined with churn; remove churn"):
        held_to(churned, Identity(), y, 0.1)
