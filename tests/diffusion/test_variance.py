"""The variances of p_theta: the case t = 1, the ends of the learned range, and the calibrated optimum."""

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import Calibrated, FixedLarge, FixedSmall, LearnedRange, NoiseSchedule, ScheduleWarning, Variance
from nelbo.errors import ConfigurationError
from nelbo.probability import DiagonalGaussian, kl_divergence
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()
SCHEDULES = [LINEAR, NoiseSchedule.cosine(200), LINEAR.strided(10), LINEAR.strided([1, 30, 400, 1000])]


def table(variance: Variance, schedule: NoiseSchedule, output: float | None = None) -> Tensor:
    """Return sigma_t^2 for t = 1..T, float64."""
    t = torch.arange(1, schedule.num_steps + 1)
    x_t = torch.zeros(len(t), 1, dtype=torch.float64)
    half = None if output is None else torch.full_like(x_t, output)
    return variance(schedule, x_t, t, half).expand_as(x_t)[:, 0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_fixed_choices(schedule: NoiseSchedule):
    large, small = table(FixedLarge(), schedule), table(FixedSmall(), schedule)
    torch.testing.assert_close(large[1:], schedule.betas[2:], rtol=0, atol=0)
    torch.testing.assert_close(small[1:], schedule.posterior_variance[2:], rtol=0, atol=0)
    assert float(large[0]) == float(small[0]) == float(schedule.posterior_variance[2])  # betatilde_2 for both


def test_fixed_variances_at_first_step_match_paper():
    for kind in (FixedLarge(), FixedSmall()):
        assert float(table(kind, LINEAR)[0]) == pytest.approx(5.45319e-5, abs=5e-11)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_learned_range_spans_the_fixed_choices(schedule: NoiseSchedule):
    """Output 1 is beta_t, -1 is betatilde_t (betatilde_2 at t = 1), 0 their geometric mean."""
    upper, lower, middle = (table(LearnedRange(), schedule, output) for output in (1.0, -1.0, 0.0))
    torch.testing.assert_close(upper, schedule.betas[1:], rtol=1e-10, atol=0)
    torch.testing.assert_close(lower, table(FixedSmall(), schedule), rtol=1e-10, atol=0)
    torch.testing.assert_close(middle, (upper * lower).sqrt(), rtol=1e-10, atol=0)
    assert bool((lower < upper).all())


def test_learned_range_is_per_pixel():
    x_t, t = torch.zeros(1, 1, 1, 3), torch.tensor([500])
    variance = LearnedRange()(LINEAR, x_t, t, torch.tensor([[[[-1.0, 0.0, 1.0]]]]))
    assert variance.shape == (1, 1, 1, 3) and bool((variance.flatten().diff() > 0).all())
    with pytest.raises(ConfigurationError, match="learned_variance"):
        LearnedRange()(LINEAR, x_t, t, None)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("data", [GaussianData(0.2, 0.01), GaussianData(0.0, 1.0)])
def test_calibrated_is_optimal_for_any_stride(schedule: NoiseSchedule, data: GaussianData):
    """The expected KL, computed from mse_t, rises if sigma_t^2 changes in either direction; its derivative is 0."""
    full = NoiseSchedule.cosine(200) if schedule.num_steps == 200 else LINEAR
    best = table(Calibrated(data.mse(full)), schedule)[1:]
    missed = schedule.posterior_x_0[2:] * data.mse(schedule)[2:].sqrt()  # RMS distance of the means

    def expected_kl(variance: Tensor) -> Tensor:
        q = DiagonalGaussian(missed, schedule.posterior_variance[2:])
        return kl_divergence(q, DiagonalGaussian(torch.zeros_like(missed), variance))

    at_best = expected_kl(best)
    for factor in (0.5, 0.97, 1.03, 2.0):
        assert bool((expected_kl(best * factor) > at_best).all())
    free = best.clone().requires_grad_()
    (slope,) = torch.autograd.grad(expected_kl(free).sum(), free)
    assert float((slope * best).abs().max()) < 1e-10
    for fixed in (FixedLarge(), FixedSmall()):
        assert bool((at_best <= expected_kl(table(fixed, schedule)[1:]) + 1e-15).all())


def test_best_data_of_each_fixed_choice():
    unit = table(Calibrated(GaussianData(0.0, 1.0).mse(LINEAR)), LINEAR)
    torch.testing.assert_close(unit, LINEAR.betas[1:], rtol=1e-9, atol=0)
    point = table(Calibrated(torch.zeros(1001, dtype=torch.float64)), LINEAR)
    torch.testing.assert_close(point, LINEAR.posterior_variance[1:], rtol=0, atol=0)


def test_calibrated_reads_the_networks_own_time():
    """One table serves the full chain and its strides; the variance of the first step is mse itself."""
    mse = torch.linspace(0, 1, 1001, dtype=torch.float64)
    stride = LINEAR.strided([7, 100, 1000])
    expected = stride.posterior_variance[1:] + stride.posterior_x_0[1:] ** 2 * mse[[7, 100, 1000]]
    torch.testing.assert_close(table(Calibrated(mse), stride), expected)
    assert float(table(Calibrated(mse), stride)[0]) == pytest.approx(float(mse[7]))


def test_schedule_of_one_step():
    with pytest.warns(ScheduleWarning):
        short = NoiseSchedule.from_alphas_bar([1, 0.25])
    for schedule in (short, LINEAR.strided(1)):
        beta = float(schedule.betas[1])
        assert float(table(FixedLarge(), schedule)) == float(table(FixedSmall(), schedule)) == beta
        assert float(table(LearnedRange(), schedule, 0.3)) == pytest.approx(beta)
    assert float(table(Calibrated(torch.tensor([0, 0.1])), short)) == pytest.approx(0.1)
