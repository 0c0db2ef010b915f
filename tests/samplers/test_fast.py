"""Fast samplers: their network calls, their equalities, and their order of convergence."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import DataPrediction, FixedSmall, NoisePrediction, NoiseSchedule, ReverseProcess, spaced_by
from nelbo.errors import ConfigurationError
from nelbo.probability import Mixture
from nelbo.randomness import image_generators
from nelbo.samplers import (
    SAMPLERS,
    AncestralSampler,
    DDIMSampler,
    DPMSolverPP,
    EulerSampler,
    HeunSampler,
    Sampler,
    StochasticDPMSolverPP,
    UniPCSampler,
    multistep,
)
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()
FINE = NoiseSchedule.log_linear(20_000, log_snr_max=24.0, log_snr_min=-12.0)
NARROW = GaussianData(0.3, 0.25)
PAIR = Mixture(torch.tensor([[-0.6], [0.5]]).double().view(2, 1, 1, 1), torch.tensor([0.3, 0.7]).double(), 0.04)
STOCHASTIC = ("ancestral", "dpm-solver++sde")


def counted(times: list[int]):
    def network(x_t: Tensor, time: Tensor) -> Tensor:
        times.append(int(time[0]))
        return 0.1 * x_t

    return network


def walked(kind: type[Sampler], steps: int, schedule: NoiseSchedule = LINEAR) -> tuple[list[int], list, Sampler]:
    times: list[int] = []
    sampler = kind(ReverseProcess(counted(times), schedule.strided(steps)))
    path = list(sampler.trajectory((1, 1, 1, 1), torch.Generator().manual_seed(0)))
    return times, path, sampler


def expected_times(kind: type[Sampler], kept: list[int]) -> list[int]:
    """Compute the network's times: each kept step once, and for Heun all except the first twice."""
    down = list(reversed(kept))
    if kind is not HeunSampler:
        return down
    return [down[0], *(time for time in down[1:] for _ in range(2))]


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 62, 150, 999, 1000])
def test_calls_go_from_T_down_to_x_0(kind: type[Sampler], steps: int):
    times, path, sampler = walked(kind, steps)
    kept = LINEAR.strided(steps).timesteps[1:].tolist()
    assert times == expected_times(kind, kept)
    assert len(times) == sampler.calls == (2 * steps - 1 if kind is HeunSampler else steps)
    assert times[0] == 1000
    assert [step.t for step in path] == list(range(steps, -1, -1))
    assert torch.equal(path[-1].x_t, path[-1].x_0)
    assert all(bool(step.x_t.isfinite().all()) for step in path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
def test_calls_for_every_number_of_steps(kind: type[Sampler]):
    schedule = NoiseSchedule.linear(1000)
    for steps in range(1, 1001):
        times, path, _ = walked(kind, steps, schedule)
        assert times == expected_times(kind, schedule.strided(steps).timesteps[1:].tolist()), steps
        assert times[0] == 1000 and path[-1].t == 0, steps


@pytest.mark.parametrize("from_first", [False, True])
def test_every_spacing_rises_strictly_to_T(from_first: bool):
    for values in (LINEAR.log_snr, LINEAR.sigma ** (1 / 7)):
        for steps in range(1, 1001):
            kept = spaced_by(values, steps, from_first=from_first)
            assert not from_first or steps == 1 or int(kept[0]) == 1
            assert len(kept) == steps and int(kept[-1]) == 1000 and int(kept[0]) >= 1
            assert bool((kept[1:] > kept[:-1]).all())


def test_spacing_is_even_where_possible():
    even = NoiseSchedule.log_linear()
    for steps in (3, 9, 27, 333):
        assert spaced_by(even.log_snr, steps).diff().unique().tolist() == [999 // steps]
    karras = spaced_by(even.sigma ** (1 / 7), 20, from_first=True)
    gaps = (even.sigma[karras] ** (1 / 7)).diff()
    assert float(gaps.max() / gaps.min()) < 1.1


def draw(sampler: Sampler, num: int = 6, seed: int = 3) -> Tensor:
    return sampler.sample((num, 1, 2, 2), image_generators(seed, 0, num))


def reverse(steps: int, schedule: NoiseSchedule = LINEAR, **options) -> ReverseProcess:
    return ReverseProcess(NARROW.network(LINEAR), schedule.strided(steps), **options)


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_ddim_with_eta_1_is_ancestral_fixed_small(steps: int):
    process = reverse(steps, variance=FixedSmall())
    torch.testing.assert_close(draw(DDIMSampler(process, eta=1.0)), draw(AncestralSampler(process)), atol=2e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_euler_is_ddim_without_noise(steps: int):
    process = reverse(steps)
    # y is 157 times x_T here, and so is its rounding error in float32
    torch.testing.assert_close(draw(EulerSampler(process)), draw(DDIMSampler(process)), atol=1e-4, rtol=0)


def test_first_step_of_second_order_is_first_order():
    process = reverse(2)
    ours = list(DPMSolverPP(process).trajectory((3, 1, 2, 2), torch.Generator().manual_seed(1)))
    ddim = list(DDIMSampler(process).trajectory((3, 1, 2, 2), torch.Generator().manual_seed(1)))
    torch.testing.assert_close(ours[1].x_t, ddim[1].x_t, atol=2e-6, rtol=0)
    noisy = list(StochasticDPMSolverPP(process).trajectory((3, 1, 2, 2), torch.Generator().manual_seed(1)))
    chain = list(
        AncestralSampler(reverse(2, variance=FixedSmall())).trajectory((3, 1, 2, 2), torch.Generator().manual_seed(1))
    )
    torch.testing.assert_close(noisy[1].x_t, chain[1].x_t, atol=2e-6, rtol=0)


# ---- order of convergence


def flow_of_gaussian(x_T: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Solve the ODE from x_T for data N(mean, s^2): y - mean scales with sqrt(s^2 + sigma^2)."""
    sigma, signal = float(schedule.sigma[-1]), float(schedule.signal[-1])
    s = math.sqrt(NARROW.variance)
    return NARROW.mean + (x_T / signal - NARROW.mean) * s / math.sqrt(s**2 + sigma**2)


def mixture_process(schedule: NoiseSchedule) -> ReverseProcess:
    whole = schedule.whole or schedule

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        t = int(time[0])
        return PAIR.given(x_t, float(whole.signal[t]), float(whole.noise_stddev[t])).mean

    return ReverseProcess(network, schedule, DataPrediction())


def flow_of_mixture(x_T: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Solve the ODE from x_T for the mixture: it keeps every quantile, so bisect F_0(x_0) = F_T(x_T)."""
    weights, centres = PAIR.weights, PAIR.centres.view(-1)

    def cdf(x: Tensor, signal: float, stddev: float) -> Tensor:
        spread = math.sqrt(signal**2 * PAIR.variance + stddev**2)
        return (weights * torch.special.ndtr((x.view(-1, 1) - signal * centres) / spread)).sum(1)

    wanted = cdf(x_T, float(schedule.signal[-1]), float(schedule.noise_stddev[-1]))
    low, high = torch.full_like(wanted, -5), torch.full_like(wanted, 5)
    for _ in range(80):
        middle = (low + high) / 2
        below = cdf(middle, 1.0, 0.0) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low.view_as(x_T)


@pytest.mark.parametrize(
    ("kind", "order"), [(EulerSampler, 1), (DDIMSampler, 1), (HeunSampler, 2), (DPMSolverPP, 2), (UniPCSampler, 3)]
)
@pytest.mark.parametrize("data", ["gaussian", "mixture"])
def test_error_falls_with_the_order(kind: type[Sampler], order: int, data: str):
    """Slopes for N = 80..320 in the spacing of Karras et al., whose last step is short enough not to dominate."""
    x_T = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64).view(-1, 1, 1, 1)
    errors = []
    for steps in (80, 160, 320):
        schedule = FINE.strided(spaced_by(FINE.sigma ** (1 / 7), steps).tolist())
        if data == "gaussian":
            process, exact = ReverseProcess(NARROW.network(FINE), schedule), flow_of_gaussian(x_T, schedule)
        else:
            process, exact = mixture_process(schedule), flow_of_mixture(x_T, schedule)
        *_, last = kind(process).walk(x_T, steps, None)
        errors.append(float((last.x_0 - exact).abs().max()))
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert slopes[-1] > order - 0.25, (errors, slopes)
    if order == 1:
        assert slopes[-1] < 1.3, (errors, slopes)


def test_variance_of_stochastic_solver_is_second_order(monkeypatch: pytest.MonkeyPatch):
    """With a linear network, unit impulses give the exact variance of x_0. Its error falls by 4 when N doubles."""
    errors = []
    for steps in (40, 80, 160):
        schedule = FINE.strided(spaced_by(FINE.sigma ** (1 / 7), steps).tolist())
        calls = iter(range(1, steps + 1))

        def impulses(shape, generator, like: Tensor, calls=calls) -> Tensor:
            z = torch.zeros(tuple(shape), dtype=torch.float64)
            z[next(calls)] = 1
            return z

        monkeypatch.setattr(multistep, "standard_normal", impulses)
        x_T = torch.zeros(steps + 1, 1, 1, 1, dtype=torch.float64)
        x_T[steps] = 1  # steps - 1 draws during the walk, and x_T itself
        *_, last = StochasticDPMSolverPP(ReverseProcess(NARROW.network(FINE), schedule)).walk(x_T, steps, None)
        out = last.x_0.flatten()
        assert next(calls) == steps
        errors.append(abs(float((out[1:] - out[0]).square().sum()) - NARROW.variance))
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert 1.75 < slopes[-1] < 2.5, (errors, slopes)


# ---- inversion, churn, errors


@pytest.mark.parametrize("steps", [20, 100])
def test_inversion_recovers_x_T(steps: int):
    sampler = DDIMSampler(ReverseProcess(NARROW.network(FINE), FINE.strided(steps)))
    x_T = torch.linspace(-1.2, 1.2, 5, dtype=torch.float64).view(-1, 1, 1, 1)
    *_, down = sampler.walk(x_T, steps, None)
    roughly = [step.x_t for step in sampler.invert(down.x_0)][-1]
    closely = [step.x_t for step in sampler.invert(down.x_0, refinements=100)][-1]
    assert float((closely - x_T).abs().max()) < 1e-5
    assert float((roughly - x_T).abs().max()) > 10 * float((closely - x_T).abs().max())


@pytest.mark.slow
def test_inversion_recovers_both_modes_of_a_mixture():
    schedule = FINE.strided(200)
    sampler = DDIMSampler(mixture_process(schedule))
    x_T = torch.linspace(-1.2, 1.2, 7, dtype=torch.float64).view(-1, 1, 1, 1)
    *_, down = sampler.walk(x_T, 200, None)
    *_, top = sampler.invert(down.x_0, refinements=100)
    *_, back = sampler.walk(top.x_t, 200, None)
    assert float((back.x_0 - down.x_0).abs().max()) < 1e-8


def test_inversion_calls_the_network_upwards():
    times: list[int] = []
    sampler = DDIMSampler(ReverseProcess(counted(times), LINEAR.strided(4)))
    path = list(sampler.invert(torch.zeros(1, 1, 1, 1), refinements=1))
    assert times == [250, 250, 500, 500, 750, 750, 1000, 1000]
    assert [step.t for step in path] == [1, 2, 3, 4]


@pytest.mark.parametrize(("kind", "steps"), [(EulerSampler, 4000), (HeunSampler, 200)])
def test_churn_keeps_the_distribution(kind: type[Sampler], steps: int):
    """20,000 pixels of the exact process: mean and variance within 4.5 standard errors, plus a bias of 1%."""
    schedule = FINE.strided(spaced_by(FINE.sigma ** (1 / 7), steps).tolist())
    plain = kind(ReverseProcess(NARROW.network(FINE), schedule))
    churned = kind(ReverseProcess(NARROW.network(FINE), schedule), churn=40.0)
    x_0 = churned.sample((20, 1, 25, 40), torch.Generator().manual_seed(0)).double()
    assert abs(float(x_0.mean()) - 0.3) < 4.5 * math.sqrt(0.25 / 20_000)
    assert float(x_0.var()) == pytest.approx(0.25, rel=4.5 * math.sqrt(2 / 20_000) + 0.01)
    other = plain.sample((20, 1, 25, 40), torch.Generator().manual_seed(0)).double()
    assert float((x_0 - other).abs().mean()) > 0.1  # churn did add noise


def test_churn_yields_x_t_of_the_right_variance():
    """White data of unit variance: every x_t has variance 1. 20,000 pixels, 5 standard errors plus a bias of 2%."""
    white = GaussianData(0.0, 1.0)
    sampler = HeunSampler(ReverseProcess(white.network(LINEAR), LINEAR.strided(50)), churn=20.0)
    for step in sampler.trajectory((20, 1, 25, 40), torch.Generator().manual_seed(0)):
        assert float(step.x_t.double().var()) == pytest.approx(1, rel=5 * math.sqrt(2 / 20_000) + 0.02), step.t


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_last_step_returns_xhat_0_exactly(kind: type[Sampler], steps: int):
    """A cosine schedule starts at sigma = 20,000, where float32 cannot resolve a pixel value."""
    wanted = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    schedule = NoiseSchedule.cosine().strided(steps)
    process = ReverseProcess(lambda x_t, time: wanted.expand_as(x_t), schedule, DataPrediction())
    last = kind(process).sample((1, 1, 16, 16), torch.Generator().manual_seed(0))
    torch.testing.assert_close(last, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{"eta": -0.1}, {"eta": 1.1}, {"eta": math.nan}])
def test_eta_out_of_range_is_refused(options: dict[str, float]):
    with pytest.raises(ConfigurationError, match=r"^eta must be within 0\.\.1"):
        DDIMSampler(reverse(2), **options)


def test_negative_churn_and_bad_inversions_are_refused():
    with pytest.raises(ConfigurationError, match=r"^churn must be 0 or more"):
        HeunSampler(reverse(2), churn=-1.0)
    with pytest.raises(ConfigurationError, match="inversion needs eta=0"):
        next(DDIMSampler(reverse(2), eta=0.5).invert(torch.zeros(1, 1, 1, 1)))
    with pytest.raises(ConfigurationError, match="`refinements` must be 0 or more"):
        next(DDIMSampler(reverse(2)).invert(torch.zeros(1, 1, 1, 1), refinements=-1))


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
def test_noise_is_computed_after_clipping(kind: type[Sampler]):
    """The network predicts far outside the range, so every clipped xhat_0 is 1, and so is the sample."""
    process = ReverseProcess(
        lambda x_t, time: torch.full_like(x_t, 9.0), LINEAR.strided(6), DataPrediction(), clip=True
    )
    path = list(kind(process).trajectory((2, 1, 2, 2), torch.Generator().manual_seed(0)))
    assert float(path[-1].x_0.max()) == pytest.approx(1.0) and float(path[-1].x_0.min()) == pytest.approx(1.0)
    assert all(float(step.x_t.abs().max()) < 6 for step in path)


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS)
def test_image_depends_on_its_own_seed_only(kind: type[Sampler]):
    process = ReverseProcess(NARROW.network(LINEAR), LINEAR.strided(5), NoisePrediction())
    together = kind(process).sample((4, 1, 2, 2), image_generators(7, 0, 4))
    alone = kind(process).sample((1, 1, 2, 2), image_generators(7, 2, 1))
    torch.testing.assert_close(together[2:3], alone, atol=1e-6, rtol=0)
