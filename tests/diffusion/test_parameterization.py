"""Each parameterization recovers x_0 and the noise from its own target."""

import math

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import (
    Calibrated,
    DataPrediction,
    ForwardProcess,
    GridPrediction,
    MeanPrediction,
    NoisePrediction,
    NoiseSchedule,
    Parameterization,
    ReverseProcess,
    VariationalBound,
    VelocityPrediction,
    bits_per_dim,
)
from nelbo.probability import levels_to_data
from tests.diffusion.oracle import at

KINDS = [NoisePrediction(), DataPrediction(), VelocityPrediction(), MeanPrediction(), GridPrediction(17)]
SCHEDULES = [NoiseSchedule.linear(), NoiseSchedule.log_linear(300), NoiseSchedule.linear().strided(9)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "log_linear", "stride"])
def test_target_gives_back_data_and_noise(kind: Parameterization, schedule: NoiseSchedule):
    g = torch.Generator().manual_seed(0)
    t = torch.arange(1, schedule.num_steps + 1)
    x_0 = levels_to_data(torch.randint(17, (len(t), 1, 2, 2), generator=g), 17, torch.float64)
    noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
    x_t = ForwardProcess(schedule).sample(x_0, t, noise)
    output = kind.target(schedule, x_0, noise, x_t, t)
    implied = kind.read(schedule, output, x_t, t)
    torch.testing.assert_close(implied.x_0, x_0, rtol=0, atol=1e-8)
    torch.testing.assert_close(implied.noise, noise, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_any_output_is_read_consistently(kind: Parameterization):
    """The x_0 and the noise of any output satisfy eq. 4 at the same x_t."""
    schedule = SCHEDULES[0]
    g = torch.Generator().manual_seed(1)
    t = torch.arange(1, 1001, 9)
    x_t, output = torch.randn(2, len(t), 1, 2, 2, generator=g, dtype=torch.float64)
    implied = kind.read(schedule, output, x_t, t)
    again = ForwardProcess(schedule).sample(implied.x_0, t, implied.noise)
    torch.testing.assert_close(again, x_t, rtol=0, atol=1e-10)


def test_velocity_is_the_derivative_of_the_rotation():
    """With alphas_bar = cos^2(angle), v = d x_t / d angle at fixed x_0 and noise (Salimans & Ho, appendix D)."""
    angle, step = 0.7, 1e-5
    x_0, noise = torch.tensor([[0.3]]).double(), torch.tensor([[-1.2]]).double()
    schedule = NoiseSchedule.from_alphas_bar([1, math.cos(angle) ** 2, 1e-3])
    t = torch.tensor([1])
    x_t = ForwardProcess(schedule).sample(x_0, t, noise)
    ends = [math.cos(a) * x_0 + math.sin(a) * noise for a in (angle - step, angle + step)]
    v = VelocityPrediction().target(schedule, x_0, noise, x_t, t)
    torch.testing.assert_close(v, (ends[1] - ends[0]) / (2 * step), rtol=1e-8, atol=0)


def test_grid_noise_is_mean_noise_given_levels():
    """from_grid is the exact mean of the noise given x_t, for independent pixels that are uniform over the levels."""
    schedule, levels = NoiseSchedule.log_linear(60), 17
    grid = 2 * torch.arange(levels, dtype=torch.float64) / (levels - 1) - 1
    t = torch.arange(1, 61)
    x_t = torch.randn(60, 1, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    signal, stddev = (table[t].reshape(-1, 1, 1, 1, 1) for table in (schedule.signal, schedule.noise_stddev))
    noises = (x_t[..., None] - signal * grid) / stddev
    expected = (torch.softmax(-0.5 * noises**2, -1) * noises).sum(-1)
    torch.testing.assert_close(GridPrediction(levels).from_grid(schedule, x_t, t), expected, rtol=1e-8, atol=1e-8)


def zero(x_t: Tensor, time: Tensor) -> Tensor:
    """A network that outputs 0."""
    return torch.zeros_like(x_t)


@pytest.mark.parametrize(("levels", "num_images"), [(2, 8), (17, 8), (256, 8)])
def test_zero_network_on_grid_starts_at_log2_levels(levels: int, num_images: int):
    """Uniform pixels have exactly log2 K bits; 300 steps with the calibrated variance cost at most 5% more."""
    schedule = NoiseSchedule.log_linear(300)
    g = torch.Generator().manual_seed(3)
    x_0 = levels_to_data(torch.randint(levels, (num_images, 1, 16, 16), generator=g), levels, torch.float64)
    plain = ReverseProcess(zero, schedule, GridPrediction(levels), levels=levels)
    mse = torch.zeros(301, dtype=torch.float64)
    for t in range(1, 301):
        noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
        x_t = ForwardProcess(schedule).sample(x_0, at(t, x_0), noise)
        mse[t] = (plain.predict(x_t, at(t, x_0)).x_0 - x_0).square().mean()
    calibrated = ReverseProcess(zero, schedule, GridPrediction(levels), Calibrated(mse), levels)
    total = float(bits_per_dim(VariationalBound(calibrated).terms(x_0, g).total, 256).mean())
    assert 0.99 * math.log2(levels) < total < 1.05 * math.log2(levels)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "log_linear", "stride"])
def test_x_0_weight_relates_both_squared_errors(kind: Parameterization, schedule: NoiseSchedule):
    """(target - output)^2 = w_t (x_0 - xhat_0)^2 for any output."""
    g = torch.Generator().manual_seed(4)
    t = torch.arange(1, schedule.num_steps + 1)
    x_0 = levels_to_data(torch.randint(17, (len(t), 1, 2, 2), generator=g), 17, torch.float64)
    noise, output = torch.randn(2, *x_0.shape, generator=g, dtype=torch.float64)
    x_t = ForwardProcess(schedule).sample(x_0, t, noise)
    of_output = (kind.target(schedule, x_0, noise, x_t, t) - output).square().flatten(1).sum(1)
    of_x_0 = (kind.read(schedule, output, x_t, t).x_0 - x_0).square().flatten(1).sum(1)
    weight = kind.x_0_weight(schedule, t)
    assert weight.shape == (len(t),) and weight.dtype == torch.float64
    torch.testing.assert_close(weight * of_x_0, of_output, rtol=1e-6, atol=0)
