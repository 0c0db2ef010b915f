"""Continuous time: the bound for infinitely many steps, the path of a learned schedule, and its gradient."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from scipy import integrate
from torch import Tensor

from nelbo.diffusion import (
    ContinuousBound,
    ContinuousObjective,
    ContinuousSchedule,
    DataPrediction,
    FixedSmall,
    GridPrediction,
    NoisePrediction,
    NoiseSchedule,
    ReverseProcess,
    StratifiedTimesteps,
    VariationalBound,
    VariationalLoss,
    VelocityPrediction,
)
from nelbo.errors import ScheduleError
from nelbo.networks import MonotoneNetwork
from tests.diffusion.oracle import GaussianData, z_score

TOP, BOTTOM = 9.0, -8.0
DATA = GaussianData(mean=0.3, variance=0.09)


def bent(hidden: int = 8, seed: int = 0) -> MonotoneNetwork:
    """A path far from a straight line."""
    network, generator = MonotoneNetwork(hidden), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        network.steepness.add_(3)
    return network


def exact(schedule: ContinuousSchedule) -> Callable[[Tensor, Tensor], Tensor]:
    """E[noise|x_t], from the network's own time of the schedule, which gives log SNR."""

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        log_snr = schedule.log_snr_max - schedule.span * (time - 1) / (schedule.num_steps - 1)
        alphas_bar = log_snr.sigmoid().view(-1, 1, 1, 1).to(x_t.dtype)
        spread = alphas_bar * DATA.variance + 1 - alphas_bar
        return (1 - alphas_bar).sqrt() * (x_t - alphas_bar.sqrt() * DATA.mean) / spread

    return network


def bound_of(schedule: ContinuousSchedule) -> ContinuousBound:
    return ContinuousBound(ReverseProcess(exact(schedule), schedule.table(), variance=FixedSmall()), schedule)


def integrand(log_snr: float) -> float:
    """E||noise - E[noise|x_t]||^2 / 2 = SNR Var[x_0|x_t] / 2 of Gaussian data, in one dimension."""
    snr = math.exp(log_snr)
    return 0.5 * snr * DATA.variance / (1 + snr * DATA.variance)


# The integral over log SNR of SNR v / (1 + SNR v) / 2 is log(1 + SNR v) / 2.
CHAIN = 0.5 * (math.log1p(DATA.variance * math.exp(TOP)) - math.log1p(DATA.variance * math.exp(BOTTOM)))


# ---- the bound


@pytest.mark.parametrize("path", [None, bent()])
def test_chain_equals_its_closed_form(path: MonotoneNetwork | None) -> None:
    """The same for every path; beyond 4 standard errors for 1 of 16,000 seeds."""
    bound = bound_of(ContinuousSchedule(TOP, BOTTOM, 100, path))
    generator = torch.Generator().manual_seed(1)
    x_0 = DATA.draw(40_000, generator)
    u = torch.rand(len(x_0), generator=generator, dtype=torch.float64)
    noise = torch.randn(x_0.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        assert abs(z_score(bound.chain(x_0, u, noise), CHAIN)) < 4


def test_discrete_chains_fall_to_the_limit() -> None:
    """With sigma_t^2 = betatilde_t, each L_{t-1} is (SNR_{t-1} - SNR_t) Var[x_0|x_t] / 2: a sum above the integral."""
    excess = []
    for num_steps in (50, 100, 200, 400):
        table = ContinuousSchedule(TOP, BOTTOM, num_steps, bent()).table()
        steps = 0.5 * (table.snr[1:-1] - table.snr[2:]) * DATA.mse(table)[2:]
        excess.append(float(steps.sum()) - CHAIN)
    assert all(value > 0 for value in excess)
    ratios = [fine / coarse for coarse, fine in pairwise(excess)]
    assert all(abs(ratio - 0.5) < 0.06 for ratio in ratios), ratios  # first order in 1 / T


def test_terms_agree_with_a_fine_discrete_bound() -> None:
    """The discrete excess is below 0.02 nats at T = 2,000; the rest is chance, beyond 4 errors for 1 of 16,000."""
    schedule = ContinuousSchedule(TOP, BOTTOM, 2000, bent())
    bound, generator = bound_of(schedule), torch.Generator().manual_seed(2)
    x_0 = DATA.draw(4000, generator)
    terms = bound.terms(x_0, generator, draws=16)
    assert terms.denoising.shape == (4000, 16)
    table = schedule.table()
    discrete = float((0.5 * (table.snr[1:-1] - table.snr[2:]) * DATA.mse(table)[2:]).sum())
    assert 0 < discrete - CHAIN < 0.02
    assert abs(z_score(terms.denoising.detach().sum(1), CHAIN)) < 4
    ends = VariationalBound(bound.reverse)
    assert torch.equal(terms.prior, ends.prior(x_0))
    assert terms.total.shape == (4000,)


def test_chain_integrates_the_error_of_the_noise() -> None:
    """The closed form, once more by quadrature of the draws' expectation."""
    assert integrate.quad(integrand, BOTTOM, TOP)[0] == pytest.approx(CHAIN, rel=1e-10)


@pytest.mark.parametrize("kind", [NoisePrediction(), DataPrediction(), VelocityPrediction(), GridPrediction(17)])
def test_a_parameterization_does_not_change_a_perfect_network(kind) -> None:
    """A network that knows x_0 has no error at any level, whatever it outputs."""
    schedule = ContinuousSchedule(TOP, BOTTOM, 100)
    generator = torch.Generator().manual_seed(3)
    x_0 = torch.randint(0, 17, (64, 1, 2, 2), generator=generator).double() / 8 - 1
    noise = torch.randn(x_0.shape, generator=generator, dtype=torch.float64)
    log_snr = schedule.log_snr(torch.rand(64, generator=generator, dtype=torch.float64))

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        t = torch.arange(1, 65)
        levels = NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), log_snr.sigmoid()]), torch.arange(65))
        return kind.target(levels, x_0, noise, x_t, t)

    bound = ContinuousBound(ReverseProcess(network, schedule.table(), kind, levels=17), schedule)
    assert bound.per_log_snr(x_0, log_snr, noise).abs().max() < 1e-12


# ---- the schedule


def test_path_keeps_its_ends_and_rises() -> None:
    path, u = bent(), torch.linspace(0, 1, 1001, dtype=torch.float64)
    with torch.no_grad():
        values = path(u)
    assert values[0] == 0 and values[-1] == 1
    assert (values.diff() > 0).all()


def test_slope_is_the_derivative() -> None:
    path, u, h = bent(), torch.linspace(0.01, 0.99, 99, dtype=torch.float64), 1e-6
    with torch.no_grad():
        differences = (path(u + h) - path(u - h)) / (2 * h)
        torch.testing.assert_close(path.slope(u), differences, rtol=1e-7, atol=1e-8)


def test_straight_path_is_the_log_linear_schedule() -> None:
    table, fixed = ContinuousSchedule(TOP, BOTTOM, 50).table(), NoiseSchedule.log_linear(50, TOP, BOTTOM)
    torch.testing.assert_close(table.alphas_bar, fixed.alphas_bar, rtol=1e-14, atol=0)
    torch.testing.assert_close(table.network_times, fixed.network_times.double(), rtol=0, atol=1e-9)


def test_network_time_means_the_same_log_snr_on_every_path() -> None:
    """The step of the log-linear schedule with the same log SNR, in fractions; also in a stride and on a device."""
    schedule = ContinuousSchedule(TOP, BOTTOM, 50, bent())
    table = schedule.table()
    fixed = NoiseSchedule.log_linear(50, TOP, BOTTOM).log_snr[1:]
    at = table.network_times[1:] - 1
    low = at.floor().long().clamp(max=48)
    torch.testing.assert_close(fixed[low] + (at - low) * fixed.diff()[low], table.log_snr[1:], rtol=1e-9, atol=1e-9)
    stride = table.strided(7).to("cpu")
    assert torch.equal(stride.network_times, table.network_times[stride.timesteps])
    seen = []
    process = ReverseProcess(lambda x_t, time: seen.append(time) or 0 * x_t, stride)
    process.predict(torch.zeros(2, 1, 1, 1), torch.tensor([1, 7]))
    assert torch.equal(seen[0], table.network_times[stride.timesteps[[1, 7]]])


def test_table_survives_being_stored() -> None:
    schedule = ContinuousSchedule(TOP, BOTTOM, 50, bent())
    table = schedule.table()
    again = replace(schedule, path=None).of_alphas_bar(table.alphas_bar)
    assert torch.equal(again.alphas_bar, table.alphas_bar)
    assert torch.equal(again.network_times, table.network_times)


@pytest.mark.parametrize("ends", [(3.0, 3.0), (-3.0, 3.0), (30.0, -5.0)])
def test_impossible_ends_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ScheduleError):
        ContinuousSchedule(*ends)
    with pytest.raises(ScheduleError, match="needs at least 2 steps for its table, got 1"):
        ContinuousSchedule(TOP, BOTTOM, 1)


# ---- learning


def second_moment(schedule: ContinuousSchedule) -> float:
    """E[loss^2] over u, for the loss integrand(log SNR) * slope, by a fine sum over u."""
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    with torch.no_grad():
        snr = schedule.log_snr(u).exp()
        loss = schedule.slope(u) * 0.5 * snr * DATA.variance / (1 + snr * DATA.variance)
    return float(loss.square().mean())


def test_gradient_is_that_of_the_variance() -> None:
    """Against finite differences of the second moment: the mean is that of the closed form, for every path."""
    path = bent(4)
    schedule = ContinuousSchedule(TOP, BOTTOM, 100, path)
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    with torch.no_grad():
        snr = schedule.log_snr(u).exp()
        loss = schedule.slope(u) * 0.5 * snr * DATA.variance / (1 + snr * DATA.variance)
    assert float(loss.mean()) == pytest.approx(CHAIN, rel=1e-6)
    schedule.variance_loss(u, loss).backward()
    for parameter in path.parameters():
        for i in range(len(parameter)):
            moments, h = [], 1e-5
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[i] += sign * h
                    moments.append(second_moment(schedule))
                    parameter[i] -= sign * h
            assert float(parameter.grad[i]) == pytest.approx((moments[0] - moments[1]) / (2 * h), rel=1e-4, abs=1e-6)


def test_fixed_schedule_has_nothing_to_learn() -> None:
    with pytest.raises(ScheduleError, match="is fixed; build it with a `path`"):
        ContinuousSchedule(TOP, BOTTOM).variance_loss(torch.rand(3).double(), torch.rand(3).double())


def objective(path: MonotoneNetwork | None = None) -> ContinuousObjective:
    schedule = ContinuousSchedule(TOP, BOTTOM, 100, path)
    table = schedule.table()
    shared = table, NoisePrediction(), FixedSmall(), VariationalLoss(), StratifiedTimesteps(100), 256
    return ContinuousObjective(*shared, continuous=schedule)


def steps(learner: ContinuousObjective, first: int, last: int) -> None:
    """Learn from losses that are exact for Gaussian data."""
    for step in range(first, last):
        draws = learner.draw(64, (1, 1, 1), torch.Generator().manual_seed(step))
        snr = draws["log_snr"].exp()
        learner.learn(draws, draws["slope"] * 0.5 * snr * DATA.variance / (1 + snr * DATA.variance))


def test_path_learns_to_lower_the_variance() -> None:
    """The best density of log SNR is proportional to the loss, whose variance is then 0."""
    learner = objective(MonotoneNetwork())
    before = second_moment(learner.continuous) - CHAIN**2
    steps(learner, 0, 200)
    assert second_moment(learner.continuous) - CHAIN**2 < 0.1 * before


def test_learning_resumes_bitwise() -> None:
    whole, first, second = (objective(MonotoneNetwork()) for _ in range(3))
    steps(whole, 0, 9)
    steps(first, 0, 4)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    steps(second, 4, 9)
    ours, theirs = whole.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys() and len(ours) == 16
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_loss_is_the_bound_per_dimension_without_its_decoder() -> None:
    """The mean over many images is L_T and the integral; beyond 4 standard errors for 1 of 16,000 seeds."""
    learner = objective(bent())
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (20_000, 1, 1, 1), generator=generator, dtype=torch.uint8)
    draws = learner.draw(len(images), (1, 1, 1), generator)
    losses = learner(lambda x_t, time: torch.zeros_like(x_t), images, None, draws)
    assert losses.unit == "nats/dim" and losses.position is draws["u"]
    prior = VariationalBound(learner.reverse(lambda x_t, time: 0 * x_t)).prior(images.float() / 127.5 - 1).mean()
    assert abs(z_score(losses.loss, (TOP - BOTTOM) / 2 + float(prior))) < 4  # E||noise||^2 / 2 at every log SNR
