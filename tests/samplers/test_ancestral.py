"""Ancestral sampling (Algorithm 2) against the closed-form recursion of its mean and variance."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import (
    Calibrated,
    FixedLarge,
    FixedSmall,
    LearnedRange,
    NoisePrediction,
    NoiseSchedule,
    ReverseProcess,
    Variance,
)
from nelbo.randomness import image_generators
from nelbo.samplers import SAMPLERS, AncestralSampler, Step, ancestral
from nelbo.samplers import sampler as contract
from nelbo.samplers.sampler import end_of
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()
NARROW = GaussianData(0.3, 0.01)


def recursion(data: GaussianData, schedule: NoiseSchedule, variance: str, full: NoiseSchedule) -> tuple[float, float]:
    """Compute the mean and variance of the sampled x_0 from alphas_bar alone; there is no noise at t = 1."""
    mse = data.mse(full)
    mean, spread = 0.0, 1.0
    for t in range(schedule.num_steps, 0, -1):
        abar, before = float(schedule.alphas_bar[t]), float(schedule.alphas_bar[t - 1])
        beta = 1 - abar / before
        c_0, c_t = math.sqrt(before) * beta / (1 - abar), math.sqrt(abar / before) * (1 - before) / (1 - abar)
        tilde = (1 - before) / (1 - abar) * beta
        gain = math.sqrt(abar) * data.variance / (abar * data.variance + 1 - abar)  # d E[x_0|x_t] / d x_t
        calibrated = tilde + c_0**2 * float(mse[int(schedule.timesteps[t])])
        sigma2 = {"fixed-large": beta, "fixed-small": tilde, "calibrated": calibrated}[variance] if t > 1 else 0.0
        mean = c_0 * (data.mean + gain * (mean - math.sqrt(abar) * data.mean)) + c_t * mean
        spread = (c_0 * gain + c_t) ** 2 * spread + sigma2
    return mean, spread


def sampler(data: GaussianData, schedule: NoiseSchedule, variance: Variance, **options) -> AncestralSampler:
    return AncestralSampler(ReverseProcess(data.network(LINEAR), schedule, NoisePrediction(), variance, **options))


def test_recursion_gives_the_known_variances():
    """s^2 = 0.01, T = 1000, exact network: the variance is x1.015 with fixed-large and x0.928 with fixed-small."""
    assert recursion(NARROW, LINEAR, "fixed-large", LINEAR)[1] / 0.01 == pytest.approx(1.015, abs=5e-4)
    assert recursion(NARROW, LINEAR, "fixed-small", LINEAR)[1] / 0.01 == pytest.approx(0.928, abs=5e-4)


@pytest.mark.parametrize("variance", [FixedLarge(), FixedSmall(), Calibrated(NARROW.mse(LINEAR))], ids=lambda v: v.name)
@pytest.mark.parametrize("schedule", [LINEAR, LINEAR.strided(50), LINEAR.strided([9, 1000])], ids=["1000", "50", "2"])
def test_mean_and_variance_equal_the_recursion(variance, schedule, monkeypatch: pytest.MonkeyPatch):
    """The chain is affine in its draws, so unit impulses give its exact variance without statistics.

    Example 0 gets no noise. Example j gets a 1 at the j-th draw and 0 at the others.
    """
    calls = iter(range(1, schedule.num_steps + 2))

    def impulses(shape, generator, like: Tensor) -> Tensor:
        z = torch.zeros(tuple(shape), dtype=torch.float64)
        z[next(calls)] = 1
        return z

    monkeypatch.setattr(contract, "standard_normal", impulses)  # x_T
    monkeypatch.setattr(ancestral, "standard_normal", impulses)
    out = sampler(NARROW, schedule, variance).sample((schedule.num_steps + 2, 1, 1, 1), None).flatten()
    mean, spread = recursion(NARROW, schedule, variance.name, LINEAR)
    assert float(out[0]) == pytest.approx(mean, rel=1e-9)
    assert float((out[1:] - out[0]).square().sum()) == pytest.approx(spread, rel=1e-9)
    assert next(calls) == schedule.num_steps + 1  # draws: x_T and one z at each t > 1, none at t = 1
    assert float(out[-1]) == float(out[0])


@pytest.mark.parametrize(("steps", "seed"), [(20, 0), (7, 1)])
def test_draws_have_the_moments_of_the_recursion(steps: int, seed: int):
    """40,000 pixels, |z| < 4.5 for mean and variance: one false alarm in 70,000 seeds."""
    schedule = LINEAR.strided(steps)
    draws = (
        sampler(NARROW, schedule, FixedLarge()).sample((40, 1, 25, 40), torch.Generator().manual_seed(seed)).double()
    )
    mean, spread = recursion(NARROW, schedule, "fixed-large", LINEAR)
    assert abs(float(draws.mean()) - mean) < 4.5 * math.sqrt(spread / 40_000)
    assert abs(float(draws.var()) / spread - 1) < 4.5 * math.sqrt(2 / 40_000)


@pytest.mark.parametrize("steps", [1, 2, 13])
def test_trajectory_calls_the_network_once_a_step(steps: int):
    times = []

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        times.append(time.tolist())
        return 0.1 * x_t

    walker = AncestralSampler(ReverseProcess(network, LINEAR.strided(steps)))
    path = list(walker.trajectory((3, 1, 2, 2), torch.Generator().manual_seed(0)))
    assert [step.t for step in path] == list(range(steps, -1, -1))
    assert times == [[t] * 3 for t in reversed(LINEAR.strided(steps).timesteps[1:].tolist())]
    assert all(isinstance(step, Step) and step.x_t.shape == step.x_0.shape == (3, 1, 2, 2) for step in path)
    assert torch.equal(path[0].x_t, torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(path[-1].x_t, path[-1].x_0)
    abar = float(LINEAR.strided(steps).alphas_bar[1])
    x_1 = path[-2].x_t
    torch.testing.assert_close(path[-1].x_0, (x_1 - math.sqrt(1 - abar) * 0.1 * x_1) / math.sqrt(abar))
    torch.testing.assert_close(path[-2].x_0, path[-1].x_0)  # at t = 1 the mean is xhat_0, and no noise is added
    again = walker.sample((3, 1, 2, 2), torch.Generator().manual_seed(0))
    assert torch.equal(again, path[-1].x_0)


def test_walk_continues_the_trajectory_from_any_step():
    walker = sampler(NARROW, LINEAR.strided(8), FixedLarge())
    path = list(walker.trajectory((2, 1, 3, 3), torch.Generator().manual_seed(5)))
    for start in (8, 5, 1, 0):
        generator = torch.Generator().manual_seed(5)
        for _ in range(9 - start):  # skip x_T and one z for each earlier step
            torch.randn(2, 1, 3, 3, generator=generator)
        rest = list(walker.walk(path[8 - start].x_t, start, generator))
        assert [step.t for step in rest] == list(range(start, -1, -1))
        for step, same in zip(rest, path[8 - start :], strict=True):
            assert torch.equal(step.x_t, same.x_t) and torch.equal(step.x_0, same.x_0)


@pytest.mark.parametrize("schedule", [LINEAR.strided(100), LINEAR.strided(7)], ids=["100", "7"])
@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_walk_draws_the_posterior_of_x_0(schedule, share: float, monkeypatch: pytest.MonkeyPatch):
    """On Gaussian data, every step of the calibrated chain is exact except the last, which adds no noise.

    Therefore draws of p(x_0|x_t) have the mean E[x_0|x_t] and, by the law of total variance, the variance
    Var[x_0|x_t] - Var[x_0|x_1]. Unit impulses give this variance, as above.
    """
    step = max(round(share * schedule.num_steps), 1)
    calls = iter(range(1, step))

    def impulses(shape, generator, like: Tensor) -> Tensor:
        z = torch.zeros(tuple(shape), dtype=torch.float64)
        z[next(calls)] = 1
        return z

    monkeypatch.setattr(ancestral, "standard_normal", impulses)
    x_t = torch.full((step, 1, 1, 1), -0.4, dtype=torch.float64)
    out = end_of(sampler(NARROW, schedule, Calibrated(NARROW.mse(LINEAR))).walk(x_t, step, None)).flatten()
    abar, mse = float(schedule.alphas_bar[step]), NARROW.mse(schedule)
    gain = math.sqrt(abar) * 0.01 / (abar * 0.01 + 1 - abar)
    assert float(out[0]) == pytest.approx(0.3 + gain * (-0.4 - math.sqrt(abar) * 0.3), rel=1e-9)
    assert float((out[1:] - out[0]).square().sum()) == pytest.approx(float(mse[step] - mse[1]), rel=1e-9, abs=1e-15)


def test_each_step_is_a_draw_of_the_transition():
    """x_{t-1} - mean, divided by sigma_t, is the generator's next normal."""
    walker = sampler(NARROW, LINEAR.strided(6), FixedSmall())
    path = list(walker.trajectory((2, 1, 3, 3), torch.Generator().manual_seed(4)))
    g = torch.Generator().manual_seed(4)
    torch.randn(2, 1, 3, 3, generator=g)
    for now, following in pairwise(path[:-1]):
        transition = walker.reverse.transition(now.x_t, torch.full((2,), now.t))
        z = (following.x_t - transition.mean) / transition.stddev
        torch.testing.assert_close(z, torch.randn(2, 1, 3, 3, generator=g), rtol=0, atol=1e-3)


def test_image_does_not_depend_on_its_batch():
    walker = sampler(NARROW, LINEAR.strided(9), FixedLarge())
    together = walker.sample((5, 1, 4, 4), image_generators(7, 0, 5))
    first, rest = (
        walker.sample((2, 1, 4, 4), image_generators(7, 0, 2)),
        walker.sample((3, 1, 4, 4), image_generators(7, 2, 3)),
    )
    torch.testing.assert_close(torch.cat([first, rest]), together, rtol=0, atol=1e-6)
    other = walker.sample((5, 1, 4, 4), image_generators(8, 0, 5))
    assert float((other - together).abs().max()) > 1e-2


def test_labels_reach_the_network():
    seen = []

    def network(x_t: Tensor, time: Tensor, label: Tensor) -> Tensor:
        seen.append(label.tolist())
        return x_t

    walker = AncestralSampler(ReverseProcess(network, LINEAR.strided(3)))
    walker.sample((2, 1, 2, 2), torch.Generator().manual_seed(0), torch.tensor([3, 1]))
    assert seen == [[3, 1]] * 3


def test_clip_limits_every_prediction():
    walker = sampler(GaussianData(0.0, 9.0), LINEAR.strided(10), FixedLarge(), clip=True)
    path = list(walker.trajectory((4, 1, 4, 4), torch.Generator().manual_seed(1)))
    assert all(float(step.x_0.abs().max()) <= 1 for step in path)


def test_learned_variance_sets_the_noise():
    def network(x_t: Tensor, time: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x_t), torch.ones_like(x_t)], 1)

    stride = LINEAR.strided([500, 1000])
    path = list(
        AncestralSampler(ReverseProcess(network, stride, variance=LearnedRange())).trajectory(
            (1, 1, 2, 2), torch.Generator().manual_seed(2)
        )
    )
    g = torch.Generator().manual_seed(2)
    x_2, z = torch.randn(1, 1, 2, 2, generator=g), torch.randn(1, 1, 2, 2, generator=g)
    expected = x_2 / float(stride.alphas[2]) ** 0.5 + float(stride.betas[2]) ** 0.5 * z
    torch.testing.assert_close(path[1].x_t, expected, rtol=1e-4, atol=1e-5)


def test_walk_builds_no_autograd_graph():
    """The activations of 1000 steps would not fit into memory: `sample` and `trajectory` must not record them."""
    scale = torch.nn.Parameter(torch.tensor(0.1))
    walker = AncestralSampler(ReverseProcess(lambda x, time: scale * x, LINEAR.strided(3)))
    assert not walker.sample((1, 1, 2, 2), torch.Generator().manual_seed(0)).requires_grad
    for step in walker.trajectory((1, 1, 2, 2), torch.Generator().manual_seed(0)):
        assert not step.x_t.requires_grad and not step.x_0.requires_grad


def test_sample_keeps_one_step_in_memory():
    """Only the current step is alive during `sample`: memory must not grow with T."""
    alive: list[int] = []

    class Counting(AncestralSampler):
        def trajectory(self, shape, generator, label=None):
            for step in super().trajectory(shape, generator, label):
                marker = Marker()
                object.__setattr__(step, "marker", marker)
                del marker
                yield step
                alive.append(Marker.alive)

    class Marker:
        alive = 0

        def __init__(self) -> None:
            Marker.alive += 1

        def __del__(self) -> None:
            Marker.alive -= 1

    walker = Counting(ReverseProcess(lambda x, time: x, LINEAR.strided(30)))
    walker.sample((1, 1, 2, 2), torch.Generator().manual_seed(0))
    assert max(alive) <= 3


def test_ancestral_is_registered():
    assert SAMPLERS["ancestral"] is AncestralSampler
