"""Fitting of a codec plan, and the models that the codec refuses."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from nelbo.codec import fit_plan
from nelbo.codec.fitting import Fitting, FittingOptions, check_prior
from nelbo.codec.step_costs import CALL_BITS, OVERHEAD, STEP_BITS, best_steps, step_bits
from nelbo.diffusion import FixedSmall, ForwardProcess, NoiseSchedule, VariationalBound
from nelbo.errors import ConfigurationError
from nelbo.probability import DiagonalGaussian, kl_divergence, levels_to_data
from nelbo.recipes import preset
from nelbo.recipes.assembly import build_schedule


def test_model_whose_x_T_depends_on_data_is_refused(run, digits):
    short = replace(run.reverse(), schedule=NoiseSchedule.log_linear(60, 8.0, -6.0))
    with pytest.raises(ConfigurationError, match=r"L_T is 0\.\d+ nats per image.*log_snr_min=-"):
        check_prior(short, digits.images(range(8)))
    check_prior(run.reverse(), digits.images(range(8)))


@pytest.mark.parametrize("low", [-3.0, -5.5, -6.2])
def test_suggested_log_snr_min_is_enough(run, digits, low):
    def within(log_snr_min):
        return replace(run.reverse(), schedule=NoiseSchedule.log_linear(60, 8.0, log_snr_min))

    images = digits.images(range(8))
    with pytest.raises(ConfigurationError) as caught:
        check_prior(within(low), images)
    suggested = float(re.search(r"log_snr_min=(-\d+)", str(caught.value))[1])
    check_prior(within(suggested), images)
    with pytest.raises(ConfigurationError):
        check_prior(within(suggested + 2), images)


def test_uncalibrated_variance_is_refused(run, digits):
    with pytest.raises(ConfigurationError, match="calibrated variance"):
        fit_plan(replace(run.reverse(), variance=FixedSmall()), digits)


def test_images_preset_keeps_almost_no_signal_in_x_T():
    schedule = build_schedule(preset("images").schedule)
    x_0 = torch.full((1, 3 * 64 * 64), 0.5, dtype=torch.float64)
    q = ForwardProcess(schedule).marginal(x_0, torch.tensor([schedule.num_steps]))
    p = DiagonalGaussian(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert float(kl_divergence(q, p).sum()) < 0.01


def test_step_bits_are_the_calibrated_kl():
    schedule = NoiseSchedule.log_linear(100)
    mse = torch.linspace(0, 0.2, 101, dtype=torch.float64) ** 2
    strided = schedule.strided([40, 70, 100])
    missed = mse[70]  # the squared error of x_0 in each of 10 dimensions
    x_t, x_0 = torch.zeros(1, 10, dtype=torch.float64), torch.zeros(1, 10, dtype=torch.float64)
    t = torch.tensor([2])
    q = ForwardProcess(strided).posterior(x_0 + missed.sqrt(), x_t, t)
    p = ForwardProcess(strided).posterior(x_0, x_t, t)
    wide = p.variance + strided.posterior_x_0[2] ** 2 * missed
    nats = float(kl_divergence(q, DiagonalGaussian(p.mean, wide)).sum())
    found = float(step_bits(schedule, mse, 70, torch.tensor([40]), 10)[0])
    assert found == pytest.approx(nats / 0.6931471805599453, rel=1e-9)


def test_best_steps_beat_evenly_spaced_steps():
    schedule = NoiseSchedule.log_linear(1000)
    mse = (1 / (1 + schedule.snr * 20)).clamp(max=0.3)
    steps, cost = best_steps(schedule, mse, 400, 784, 12)
    assert steps[0] == 400 and steps[-1] == 1000 and steps == sorted(set(steps))
    even = torch.linspace(400, 1000, len(steps)).round().long().tolist()
    assert cost <= _cost(schedule, mse, even) + 1e-9
    assert cost == pytest.approx(_cost(schedule, mse, steps))


def _cost(schedule, mse, steps):
    """Return the cost that `best_steps` minimizes, for any steps."""
    total = 0.0
    for s, t in pairwise(steps):
        kl = float(step_bits(schedule, mse, t, torch.tensor([s]), 784)[0])
        total += kl + OVERHEAD * max(kl / 12, 1) + STEP_BITS + CALL_BITS
    return total


@pytest.mark.parametrize(("slope", "best"), [(0, 3.0), (-40, 5.0), (-4000, 6.0)])
def test_stops_are_tried_until_one_costs_more(run, digits, monkeypatch, slope: int, best: float):
    """With the channel's real cost, the bits that less noise saves in the end decide."""
    tried: list[float] = []

    def end(self, xhat_0, levels, steps, stage):
        name, _, log_snr = stage.partition(", log SNR ")
        tried.append(float(log_snr))
        assert name == f"trial {len(tried)} of at most 4"
        return None, max(slope * min(tried[-1], best), -1e9)

    monkeypatch.setattr(Fitting, "predicted", lambda self, levels, t, stage: levels)
    monkeypatch.setattr(Fitting, "train_end", end)
    fitting = Fitting(run.reverse(clip=True), digits, FittingOptions(), lambda *_: None)
    found, _ = fitting.stop(fitting.spread(64))
    log_snr = run.schedule.log_snr
    assert float(log_snr[found.time]) == pytest.approx(best, abs=float((log_snr[1:-1] - log_snr[2:]).max()))
    assert tried == [3.0 + i for i in range(len(tried))] and tried[-1] in (best, best + 1)


def test_expected_kl_is_the_bound_in_bits(run, digits):
    reverse = run.reverse(clip=True)
    strided = replace(reverse, schedule=reverse.schedule.strided(4))
    images = digits.images(range(40))
    fitting = Fitting(reverse, digits, FittingOptions(), lambda stage, done, total: None)
    measured = fitting.expected_kl(strided, images).sum(1) / 256  # bits per image at t = 2, 3, 4
    terms = VariationalBound(strided).terms(levels_to_data(images, run.levels), torch.Generator().manual_seed(0))
    torch.testing.assert_close(measured.double(), terms.denoising.mean(0).double() / math.log(2), rtol=0.1, atol=0.5)
