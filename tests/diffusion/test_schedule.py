"""The tables against the paper's values, strides of every length, and refused schedules."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.diffusion import (
    ForwardProcess,
    NoiseSchedule,
    ReverseProcess,
    ScheduleWarning,
    VariationalBound,
    bits_per_dim,
    spaced_by,
)
from nelbo.errors import ScheduleError
from nelbo.probability import levels_to_data

FACTORIES = [NoiseSchedule.linear, NoiseSchedule.cosine, NoiseSchedule.log_linear]


def test_linear_schedule_has_paper_values():
    s = NoiseSchedule.linear()
    assert s.num_steps == 1000
    assert float(s.alphas_bar[1000]) == pytest.approx(4.0358e-5, abs=5e-10)
    assert float(s.alphas_bar[500]) == pytest.approx(0.0785872, abs=5e-8)
    assert float(s.posterior_variance[2]) == pytest.approx(5.45319e-5, abs=5e-11)
    assert float(s.betas[1]) == pytest.approx(1e-4, rel=1e-10) and float(s.betas[1000]) == pytest.approx(0.02)
    assert math.sqrt(float(s.posterior_variance[2])) * 127.5 == pytest.approx(0.94, abs=0.005)  # grey levels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prior_term_is_about_1e_5_bits(dtype: torch.dtype):
    """Uniform pixels (with a variance slightly above that of CIFAR-10) against the closed form, for both dtypes."""
    s = NoiseSchedule.linear()
    images = torch.randint(256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    x_0 = levels_to_data(images, 256, dtype)
    prior = VariationalBound(ReverseProcess(lambda x, t: x, s)).prior(x_0)
    abar = float(s.alphas_bar[-1])
    expected = 0.5 * (abar * x_0.double().square().flatten(1).mean(1) - abar - math.log1p(-abar)) / math.log(2)
    torch.testing.assert_close(bits_per_dim(prior, 3072).double(), expected, rtol=2e-4, atol=0)
    assert 5e-6 < float(expected.mean()) < 2e-5


def test_cosine_follows_its_formula():
    s = NoiseSchedule.cosine(1000)
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    assert s.alphas_bar[:1000].tolist() == pytest.approx([x / f[0] for x in f[:1000]], rel=1e-9)
    assert float(s.betas[1000]) == pytest.approx(0.999) and float(s.betas.max()) <= 0.999 + 1e-12


def test_log_linear_falls_evenly_in_log_snr():
    s = NoiseSchedule.log_linear(500, 12.0, -9.0)
    assert s.log_snr[1:].tolist() == pytest.approx(torch.linspace(12, -9, 500).tolist(), abs=1e-5)
    noise = float(NoiseSchedule.log_linear().noise_stddev[1]) * 127.5
    assert noise == pytest.approx(0.07, abs=0.005)  # grey levels, as the docstring says


def test_log_linear_weights_all_steps_equally():
    """The weight of eq. 12 with sigma_t^2 = betatilde_t doesn't depend on t, except for rounding at high SNR."""
    s = NoiseSchedule.log_linear(200)
    weight = s.betas[2:] ** 2 / (2 * s.posterior_variance[2:] * s.alphas[2:] * s.noise_variance[2:])
    torch.testing.assert_close(weight, torch.full_like(weight, math.expm1(25.5 / 199) / 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("factory", FACTORIES)
def test_tables_are_consistent(factory):
    s = factory(200) if factory != NoiseSchedule.linear else factory(200, 1e-4, 0.1)
    assert float(s.alphas_bar[0]) == 1 and len(s.alphas_bar) == 201 and s.timesteps.tolist() == list(range(201))
    assert bool((s.alphas_bar.diff() < 0).all()) and bool(((s.betas[1:] > 0) & (s.betas[1:] < 1)).all())
    torch.testing.assert_close(s.alphas, 1 - s.betas)
    torch.testing.assert_close(s.alphas.cumprod(0), s.alphas_bar, rtol=1e-10, atol=0)
    torch.testing.assert_close(s.signal**2, s.alphas_bar)
    torch.testing.assert_close(s.noise_stddev**2, 1 - s.alphas_bar)
    torch.testing.assert_close(s.snr, s.alphas_bar / (1 - s.alphas_bar))
    torch.testing.assert_close(s.log_snr.exp(), s.snr)
    assert float(s.posterior_variance[1]) == 0 and float(s.posterior_x_0[1]) == 1 and float(s.posterior_x_t[1]) == 0


def test_beta_outside_0_1_is_refused():
    with pytest.raises(ScheduleError, match=r"beta_T must be between 0 and 1, got 1\.0"):
        NoiseSchedule.linear(20, 1e-4, 1.0)
    with pytest.raises(ScheduleError, match="beta_1"):
        NoiseSchedule.linear(20, 0.0, 0.5)
    for table, t in (([1, 0.5, 0.5], 2), ([1, 0.5, 0.6], 2), ([1, 0.5, 0.0], 2), ([1, 1.0, 0.1], 1), ([1, -0.1], 1)):
        with pytest.raises(ScheduleError, match=f"beta_{t} = "):
            NoiseSchedule.from_alphas_bar(table)
    with pytest.raises(ScheduleError, match="beta_1"):
        NoiseSchedule.from_alphas_bar([1, math.nan, 0.001])


@pytest.mark.parametrize("table", [[0.9, 0.5], [1.0], [[1.0, 0.001]]])
def test_table_must_start_at_one(table: list):
    with pytest.raises(ScheduleError, match=r"T\+1 entries"):
        NoiseSchedule.from_alphas_bar(table)


@pytest.mark.parametrize("factory", FACTORIES)
def test_zero_steps_are_refused(factory):
    with pytest.raises(ScheduleError, match="at least 1 step"):
        factory(0)


def test_visible_signal_warns():
    with pytest.warns(ScheduleWarning, match=r"0\.468") as caught:
        linear = NoiseSchedule.linear(150)
    assert caught[0].filename == __file__  # the line that builds the schedule
    with pytest.warns(ScheduleWarning, match=r"0\.468") as caught:
        NoiseSchedule.from_alphas_bar(linear.alphas_bar)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("factory", FACTORIES)
def test_default_schedules_do_not_warn(factory):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factory()


def test_strided_for_every_number_of_steps():
    s = NoiseSchedule.linear()
    for num in range(1, 1001):
        stride = s.strided(num)
        kept = stride.timesteps
        assert stride.num_steps == num and len(kept) == num + 1
        assert int(kept[0]) == 0 and int(kept[-1]) == 1000
        gaps = kept.diff()
        assert int(gaps.min()) >= 1 and int(gaps.max()) - int(gaps.min()) <= 1  # as even as integers allow
        assert torch.equal(stride.alphas_bar, s.alphas_bar[kept])


def test_stride_rounds_up():
    assert NoiseSchedule.linear().strided(7).timesteps.tolist() == [0, 143, 286, 429, 572, 715, 858, 1000]


def test_stride_betas_come_from_alphas_bar_ratio():
    s = NoiseSchedule.linear()
    stride = s.strided([3, 40, 700, 1000])
    assert float(stride.betas[2]) == pytest.approx(1 - float(s.alphas_bar[40] / s.alphas_bar[3]), rel=1e-12)
    composed = torch.ones(()).double()
    for t in range(4, 41):
        composed = composed * s.alphas[t]
    assert float(stride.alphas[2]) == pytest.approx(float(composed), rel=1e-12)


@pytest.mark.parametrize(("outer", "inner"), [(500, 10), (37, 37), (250, 1), (100, 7)])
def test_strides_compose(outer: int, inner: int):
    s = NoiseSchedule.cosine()
    twice = s.strided(outer).strided(inner)
    once = s.strided(twice.timesteps[1:].tolist())
    assert torch.equal(twice.timesteps, once.timesteps) and torch.equal(twice.alphas_bar, once.alphas_bar)


@pytest.mark.parametrize("steps", [0, -3, 1001, [], [0, 1000], [5, 5, 1000], [7, 3, 1000], [1, 2, 999], [1000, 1001]])
def test_invalid_strides_are_refused(steps):
    with pytest.raises(ScheduleError, match=r"1\.\.1000"):
        NoiseSchedule.linear().strided(steps)


@pytest.mark.parametrize("t", [0, -1, 11, 1000])
def test_t_outside_the_chain_is_refused(t: int):
    with pytest.warns(ScheduleWarning):
        s = NoiseSchedule.linear(10)
    x, bad = torch.zeros(2, 1, 2, 2), torch.tensor([5, t])
    for call in (
        lambda: s.at(s.betas, bad, x),
        lambda: ForwardProcess(s).marginal(x, bad),
        lambda: ForwardProcess(s).posterior(x, x, bad),
        lambda: ForwardProcess(s).sample(x, bad, x),
    ):
        with pytest.raises(ScheduleError, match=r"t must be within 1\.\.10"):
            call()


def test_gathering_keeps_the_digits_of_float64():
    """1 - alphas_bar in float32 has a relative error of 1.7e-4 at t = 1; the gathered table is exact to float32."""
    s, x = NoiseSchedule.linear(), torch.zeros(1, 1)
    gathered = s.at(s.noise_variance, torch.tensor([1]), x)
    assert gathered.dtype == torch.float32 and gathered.shape == (1, 1)
    assert float(gathered) == pytest.approx(1e-4, rel=1e-7)
    naive = 1 - s.alphas_bar.float()[1]
    assert abs(float(naive) / 1e-4 - 1) > 1e-4


def test_moving_keeps_tables_and_timesteps():
    s = NoiseSchedule.cosine(50).strided(7)
    moved = s.to("cpu")
    for name in ("alphas_bar", "timesteps", "betas", "posterior_variance", "posterior_x_0"):
        torch.testing.assert_close(getattr(moved, name), getattr(s, name), rtol=0, atol=0, equal_nan=True)
    assert moved.device == s.device == torch.device("cpu")
    assert s.to("meta").device == torch.device("meta")


steps_and_tables = st.integers(1, 60).flatmap(
    lambda total: st.tuples(
        st.lists(st.floats(0, 5, width=32) | st.just(0.0), min_size=total + 1, max_size=total + 1),
        st.integers(1, total),
        st.booleans(),
    )
)


@settings(deadline=None, derandomize=True)
@given(steps_and_tables)
def test_spaced_by_any_monotone_table(drawn):
    """Rising or falling, with ties and plateaus: exactly N steps, strictly rising within 1..T, the last of them T."""
    increments, num, falling = drawn
    values = torch.tensor(increments, dtype=torch.float64).cumsum(0)
    total = len(values) - 1
    kept = spaced_by(-values if falling else values, num)
    assert len(kept) == num and int(kept[0]) >= 1
    assert bool((kept.diff() > 0).all())
    assert int(kept[-1]) == total


def test_spaced_by_constant_end():
    """A cumulative rate that is constant at the end: the last step is still T."""
    assert spaced_by(torch.tensor([0.0, 1, 2, 2, 2]), 2).tolist()[-1] == 4


def test_spaced_by_is_even_in_the_values():
    for values in (NoiseSchedule.cosine().log_snr, torch.linspace(0, 1, 1001).double() ** 2):
        kept = spaced_by(values, 8)
        gaps = values[kept].diff().abs()
        step = float((values[-1] - values[1]).abs()) / 8
        widest = float(values[1:].diff().abs().max())
        assert float((gaps - step).abs().max()) <= widest + 1e-9


@pytest.mark.parametrize("num", [0, 11])
def test_spaced_by_refuses_impossible_numbers(num: int):
    with pytest.raises(ScheduleError, match=r"1\.\.10"):
        spaced_by(torch.arange(11).double(), num)


def test_sigma_lacking_completes_the_variance():
    schedule = NoiseSchedule.linear()
    for t, sigma in ((1, 0.0), (300, 0.1), (1000, 5.0)):
        assert schedule.sigma_lacking(t, sigma) ** 2 + sigma**2 == pytest.approx(
            float(schedule.sigma[t]) ** 2, rel=1e-12
        )
    assert schedule.sigma_lacking(1, 5.0) == 0


@pytest.mark.parametrize("steps", [0, 2.5, 11, [2.7, 10], [5, 3, 10], [3, 5], [0, 10], []])
def test_strides_of_other_steps_are_refused(steps):
    with pytest.raises(ScheduleError, match=r"must (be a whole number within 1\.\.10|rise within 1\.\.10)"):
        NoiseSchedule.log_linear(10, 6.0, -7.0).strided(steps)


def test_numpy_counts_steps_too():
    schedule = NoiseSchedule.log_linear(10, 6.0, -7.0)
    assert schedule.strided(np.int64(5)).timesteps.tolist() == schedule.strided(5).timesteps.tolist()
