"""The measured mse_t against its exact value for known data and a known network."""

import math

import pytest
import torch
from torch import Tensor

from nelbo.data import ArrayDataset
from nelbo.diffusion import Calibrated, DataPrediction, NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import calibrate, draws_after
from nelbo.evaluation.calibration import _smoothed
from nelbo.probability import levels_to_data
from tests.diffusion.oracle import GaussianData

DATA = GaussianData(0.1, 0.04)


def images(num: int = 400, size: int = 12) -> ArrayDataset:
    g = torch.Generator().manual_seed(0)
    level = ((DATA.mean + 0.2 * torch.randn(num, 1, size, size, generator=g) + 1) * 127.5).round().clamp(0, 255)
    return ArrayDataset(level.to(torch.uint8))


def exact_mse(schedule: NoiseSchedule, data: ArrayDataset) -> Tensor:
    """Return E(x_0 - xhat_0)^2 of the linear denoiser on these images, from their second moment around the mean."""
    x_0 = levels_to_data(data.images(torch.arange(len(data))), 256, torch.float64)
    moment = (x_0 - DATA.mean).square().mean()
    abar = schedule.alphas_bar
    gain = abar.sqrt() * DATA.variance / DATA.marginal_variance(schedule)
    return (1 - gain * abar.sqrt()) ** 2 * moment + gain**2 * (1 - abar)


def test_exact_network_gives_the_exact_mse():
    """500 draws of 144 dimensions at each of 20 t: within 5 standard errors of 0.53% (1 in 100,000)."""
    schedule, data = NoiseSchedule.log_linear(20, 5.0, -7.0), images()
    mse = calibrate(ReverseProcess(DATA.network(schedule), schedule), data, draws=10_000)
    assert mse.shape == (21,) and mse.dtype == torch.float64 and float(mse[0]) == 0
    torch.testing.assert_close(mse[1:], exact_mse(schedule, data)[1:], rtol=5 * math.sqrt(2 / 144 / 500), atol=0)
    torch.testing.assert_close(mse[1:], DATA.mse(schedule)[1:], rtol=0.05, atol=0)


def test_averaging_keeps_the_curve():
    """T = 1000 with about 4 draws at each t, averaged over 15: within 5.5 standard errors of 1.5%."""
    schedule, data = NoiseSchedule.linear(), images()
    mse = calibrate(ReverseProcess(DATA.network(schedule), schedule), data, draws=4096)
    ratio = mse[1:] / exact_mse(schedule, data)[1:]
    assert float((ratio[10:990] - 1).abs().max()) < 5.5 * math.sqrt(2 / 144 / 60)
    assert float((ratio - 1).abs().max()) < 6 * math.sqrt(2 / 144 / 4)


def test_averaging_is_symmetric():
    """A straight line is unchanged, also at its ends; a spike spreads evenly to both sides."""
    line = torch.arange(60, dtype=torch.float64)
    torch.testing.assert_close(_smoothed(line, 5), line)
    spike = torch.zeros(60, dtype=torch.float64)
    spike[35] = 11
    torch.testing.assert_close(_smoothed(spike, 5)[24:50], (line[24:50] - 35).abs().le(5).double())


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine(), NoiseSchedule.log_linear()])
@pytest.mark.parametrize("variance", [1e-2, 1e-3, 1e-4])
def test_averaging_costs_no_bits(schedule: NoiseSchedule, variance: float):
    """Smoothing an exact mse_t costs less than 0.0005 bits/dim over the chain, including low t."""
    mse = GaussianData(0.0, variance).mse(schedule)
    snr = schedule.snr[1:]
    smooth = torch.cat([mse[:1], _smoothed(mse[1:] * snr, 1000 // 128) / snr])
    right, used = (
        Calibrated(m)(schedule, torch.zeros(1000, 1), torch.arange(1, 1001), None)[1:] for m in (mse, smooth)
    )
    right, used = right.double(), used.double()
    assert float(0.5 * (right / used - 1 - (right / used).log()).sum()) / math.log(2) < 5e-4


def test_result_depends_on_the_seed_alone():
    schedule, data = NoiseSchedule.log_linear(10, 5.0, -7.0), images(20, 4)
    reverse = ReverseProcess(DATA.network(schedule), schedule)
    first, again, other = (calibrate(reverse, data, draws=100, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_few_draws_still_measure_every_t():
    schedule, data = NoiseSchedule.linear(), images(5, 2)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    mse = calibrate(ReverseProcess(DATA.network(schedule), schedule), data, draws=1, batch_size=512, progress=progress)
    assert bool((mse[1:] > 0).all()) and bool(mse.isfinite().all())
    assert seen[-1][0] == seen[-1][1]


def test_labels_reach_a_conditional_network():
    """A network that is exact only with the class has an error of 0 with labels, and more without."""
    schedule, data = NoiseSchedule.log_linear(10, 5.0, -7.0), images(20, 4)
    labels = torch.arange(20)
    every = levels_to_data(data.images(labels), 256)

    def network(x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return every[label] if label is not None else torch.zeros_like(x_t)

    reverse = ReverseProcess(network, schedule, DataPrediction())
    assert float(calibrate(reverse, data, labels=labels, draws=100, batch_size=7).max()) == 0
    assert float(calibrate(reverse, data, draws=100)[1:].min()) > 0


def test_strided_schedule_is_refused():
    """Its steps are not the t of the full schedule, which index the table."""
    schedule = NoiseSchedule.log_linear(10, 5.0, -7.0)
    with pytest.raises(ConfigurationError, match="full schedule of 10 steps, got a stride of 5"):
        calibrate(ReverseProcess(DATA.network(schedule), schedule.strided(5)), images(4, 4))


def test_no_images_are_refused():
    schedule = NoiseSchedule.linear()
    with pytest.raises(DataError, match="no images"):
        calibrate(ReverseProcess(DATA.network(schedule), schedule), images(0))


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.log_linear(1000, 5.0, -7.0)])
def test_few_times_are_interpolated(schedule: NoiseSchedule):
    """64 of 1,000 t, 4 draws each: within 6 standard errors of 5.9%, at every t."""
    data, seen = images(), []
    reverse = ReverseProcess(DATA.network(schedule), schedule)
    mse = calibrate(reverse, data, times=64, progress=lambda done, total: seen.append(total))
    assert mse.shape == (1001,) and 150 < seen[0] <= 256
    assert float((mse[1:] / exact_mse(schedule, data)[1:] - 1).abs().max()) < 6 * math.sqrt(2 / 144 / 4)


def test_as_many_times_as_steps_are_all():
    schedule, data = NoiseSchedule.log_linear(10, 5.0, -7.0), images(20, 4)
    reverse = ReverseProcess(DATA.network(schedule), schedule)
    assert torch.equal(calibrate(reverse, data, times=10), calibrate(reverse, data))


@pytest.mark.parametrize(
    ("num_examples", "num_steps", "chosen"),
    [
        (160, 1000, {"draws": 256, "times": 64}),
        (2000, 1000, {"draws": 2000, "times": 500}),
        (4000, 1000, {}),
        (16, 20, {"draws": 80, "times": 20}),
        (80, 20, {}),
        (None, 20, {}),
    ],
)
def test_a_short_training_is_calibrated_with_few_draws(num_examples, num_steps: int, chosen: dict[str, int]):
    assert draws_after(num_examples, num_steps) == chosen


@pytest.mark.parametrize("times", [1, 2.5, "64"])
def test_wrong_times_are_refused(times):
    reverse = ReverseProcess(DATA.network(NoiseSchedule.linear()), NoiseSchedule.linear())
    with pytest.raises(ConfigurationError, match="times must be a whole number, at least 2"):
        calibrate(reverse, images(4), times=times)
