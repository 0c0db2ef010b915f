"""The sum of the bound from T downwards is the rate, and the remaining term is the distortion."""

import itertools
import math

import pytest
import torch
from PIL import features

from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import codec_curve, evaluate_bound, rate_distortion
from nelbo.probability import levels_to_data
from tests.evaluation.test_bound import DATA, REVERSE, SCHEDULE, images


def test_rate_and_distortion_sum_to_the_bound():
    report = evaluate_bound(REVERSE, images(40), steps_per_image=None)
    curve = rate_distortion(report)
    assert curve.total == pytest.approx(report.total, rel=1e-9)
    assert curve.rate == pytest.approx(report.prior + report.denoising, rel=1e-9)
    assert curve.distortion == pytest.approx(report.decoder, rel=1e-9)
    assert curve.points[0].rate == report.prior


def test_curve_follows_the_chain():
    curve = rate_distortion(evaluate_bound(REVERSE, images(200), steps_per_image=None))
    assert [(p.t, p.reverse_steps) for p in curve.points] == [(10 - k, k) for k in range(10)]
    rates, errors = [p.rate for p in curve.points], [p.rmse for p in curve.points]
    assert rates == sorted(rates)
    assert all(
        later < 1.01 * earlier for earlier, later in itertools.pairwise(errors)
    )  # x_T and x_{T-1} hold equally little of x_0
    assert errors[-1] < 0.2 * errors[0]


def test_rmse_is_on_the_pixel_scale():
    """Gaussian data, exact network: RMSE_t = 127.5 sqrt(mse_t), within 4 sigma for 2,000 images of 9 pixels."""
    some = images(2000, 3)
    report = evaluate_bound(REVERSE, some, steps_per_image=None, batch_size=500)
    x_0 = levels_to_data(some.images(torch.arange(2000)), 17)
    spread = float((x_0 - DATA.mean).square().mean())  # differs slightly from the variance that the network assumes
    abar = SCHEDULE.alphas_bar
    gain = abar.sqrt() * DATA.variance / DATA.marginal_variance(SCHEDULE)
    mse = (1 - gain * abar.sqrt()) ** 2 * spread + gain**2 * (1 - abar)
    for step in report.per_step[3:]:  # at low noise the estimate is sometimes clipped
        assert step.rmse == pytest.approx(127.5 * math.sqrt(float(mse[step.t])), rel=4 / math.sqrt(2 * 18_000) + 0.01)


def test_subset_of_t_is_refused():
    with pytest.raises(ConfigurationError, match="needs the bound at every t, but 3 of 9 were drawn"):
        rate_distortion(evaluate_bound(REVERSE, images(5), steps_per_image=3))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", [c for c, name in (("JPEG", "jpg"), ("WEBP", "webp")) if features.check(name)])
def test_codec_curve_counts_file_bytes(codec: str, channels: int):
    ramp = torch.arange(32).expand(3, channels, 32, 32).to(torch.uint8) * 7
    points = codec_curve(codec, ramp, (5, 95))
    assert points[0].bits_per_dim < points[1].bits_per_dim
    assert points[0].rmse > points[1].rmse
    assert points[0].bits_per_dim * channels * 32 * 32 > 8 * 20  # a header at least


def test_lossless_webp_has_no_error():
    noise = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    (point,) = codec_curve("WEBP", noise, (None,))
    assert point.rmse == 0 and point.bits_per_dim > 8


def test_two_channels_are_refused():
    with pytest.raises(DataError, match="grey or RGB"):
        codec_curve("JPEG", torch.zeros(1, 2, 8, 8, dtype=torch.uint8))
