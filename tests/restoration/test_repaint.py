"""RePaint: its jumps against a list made by hand, its steps against q, and its draws against the exact posterior."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import FixedSmall, NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.randomness import image_generators
from nelbo.restoration import Mask, RePaintSampler, repaint, visits
from tests.restoration.oracle import CorrelatedData, matrix_of
from tests.restoration.test_null_space import errors, moments
from tests.restoration.test_operators import KEPT

FINE = NoiseSchedule.log_linear(1000, log_snr_max=15.0, log_snr_min=-10.5)
DATA = CorrelatedData.of()


def test_jumps_by_hand():
    assert visits(4, 1, 1) == [4, 3, 2, 1, 0]
    assert visits(3, 1, 2) == [3, 2, 3, 2, 1, 2, 1, 0]
    assert visits(5, 2, 2) == [5, 4, 3, 5, 4, 3, 2, 1, 3, 2, 1, 0]
    assert visits(6, 2, 3) == [6, 5, 4, 3, 5, 4, 3, 5, 4, 3, 2, 1, 3, 2, 1, 3, 2, 1, 0]
    assert visits(3, 3, 9) == [3, 2, 1, 0]  # no room for a jump
    assert visits(1, 1, 9) == [1, 0]


def as_published(t_T: int, jump_len: int, jump_n_sample: int) -> list[int]:
    """The code of Lugmayr et al., appendix B: every t visited, with jumps one step at a time. Its t = -1 is x_0."""
    jumps = dict.fromkeys(range(0, t_T - jump_len, jump_len), jump_n_sample - 1)
    t, ts = t_T, []
    while t >= 1:
        t = t - 1
        ts.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            for _ in range(jump_len):
                t = t + 1
                ts.append(t)
    return [*ts, -1]


@pytest.mark.parametrize(("steps", "jump", "resamplings"), [(250, 10, 10), (17, 5, 3), (9, 1, 4), (30, 30, 2)])
def test_jumps_equal_the_published_code(steps: int, jump: int, resamplings: int):
    path = visits(steps, jump, resamplings)
    slowly = [path[0]]
    for place in path[1:]:
        slowly += range(slowly[-1] + 1, place + 1) if place > slowly[-1] else [place]
    assert [place - 1 for place in slowly] == as_published(steps, jump, resamplings)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("jump", [1, 3, 7, 25])
@pytest.mark.parametrize("resamplings", [1, 2, 5])
def test_number_of_network_calls(steps: int, jump: int, resamplings: int):
    times: list[int] = []

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        times.append(int(time[0]))
        return x_t

    process = ReverseProcess(network, FINE.strided(steps))
    sampler = RePaintSampler(process, torch.zeros(1, 1, 4, 4), KEPT, jump, resamplings)
    path = list(sampler.trajectory((2, 1, 4, 4), image_generators(0, 0, 2)))
    assert len(times) == sampler.calls == len(path) - 1
    assert sampler.calls == steps + (resamplings - 1) * jump * ((steps - 1) // jump)
    assert times == [int(process.schedule.timesteps[step.t]) for step in path[:-1]]
    assert path[0].t == steps and path[-1].t == 0
    path_list = visits(steps, jump, resamplings)
    assert [step.t for step in path] == [a for a, b in zip(path_list, [*path_list[1:], -1], strict=True) if b < a]


def test_known_pixels_and_jumps_follow_q(monkeypatch: pytest.MonkeyPatch):
    """With every z = 1, known pixels are sqrt(abar) x_0 + sqrt(1 - abar), and jumps use the ratio of alphas_bar."""
    monkeypatch.setattr(repaint, "standard_normal", lambda shape, generator, like: torch.ones_like(like))
    known = torch.linspace(-1, 1, 16, dtype=torch.double).view(1, 1, 4, 4)
    process = ReverseProcess(DATA.network(FINE), FINE.strided(6), variance=FixedSmall())
    sampler = RePaintSampler(process, known, KEPT, jump=2, resamplings=2)
    s, x = process.schedule, torch.full((1, 1, 4, 4), 0.3, dtype=torch.double)
    path, by_hand = list(sampler.walk(x, 6, None)), x
    places = visits(6, 2, 2)
    steps = iter(path)
    for here, there in pairwise(places):
        if there > here:
            ratio = s.alphas_bar[there] / s.alphas_bar[here]
            by_hand = ratio.sqrt() * by_hand + (1 - ratio).sqrt()
            continue
        step = next(steps)
        assert step.t == here
        torch.testing.assert_close(step.x_t, by_hand, atol=1e-12, rtol=0)
        p = process.transition(by_hand, torch.tensor([here]))
        drawn = p.mean + (0 if there == 0 else 1) * p.stddev
        fresh = s.alphas_bar[there].sqrt() * known + (1 - s.alphas_bar[there]).sqrt()
        by_hand = torch.where(KEPT, fresh, drawn)
    torch.testing.assert_close(path[-1].x_0, by_hand, atol=1e-12, rtol=0)


def draws(steps: int, jump: int, resamplings: int, num: int = 4000) -> tuple[float, float, float]:
    x_0 = DATA.draw(1, torch.Generator().manual_seed(5))
    exact = DATA.given(matrix_of(Mask(KEPT)), Mask(KEPT)(x_0).flatten())
    process = ReverseProcess(DATA.network(FINE), FINE.strided(steps), variance=FixedSmall())
    sampler = RePaintSampler(process, x_0, KEPT, jump, resamplings)
    found = sampler.sample((num, 1, 4, 4), torch.Generator().manual_seed(3))
    assert torch.equal(found[:, :, KEPT], x_0.to(found).expand(num, -1, -1, -1)[:, :, KEPT])  # to the last bit
    return errors(moments(found), exact, ~KEPT.flatten())


def test_resampling_approaches_the_exact_mean():
    """RMS error of the mean in posterior standard deviations (4,000 draws: +- 0.016): 0.32, 0.10 and 0.03."""
    once, some, many = (draws(50, 1, resamplings)[0] for resamplings in (1, 5, 20))
    assert 0.25 < once < 0.4
    assert 0.05 < some < 0.15
    assert many < 0.06


@pytest.mark.slow
def test_many_steps_approach_the_exact_variance():
    """200 steps, jumps of 20, 20 resamplings, 3,620 calls: mean within 0.04, variances 0.94 to 1.00 of the exact ones.

    With 50 steps the variances stay at 0.80 to 0.84 for any number of resamplings: this is the error of the coarse
    chain.
    """
    error, low, high = draws(200, 20, 20)
    assert error < 0.08 and low > 0.85 and high < 1.08, (error, low, high)
    error, low, high = draws(50, 1, 20)
    assert low > 0.72 and high < 0.92, (error, low, high)


def test_mean_of_the_prior_is_far_off():
    x_0 = DATA.draw(1, torch.Generator().manual_seed(5))
    exact, missing = DATA.given(matrix_of(Mask(KEPT)), Mask(KEPT)(x_0).flatten()), ~KEPT.flatten()
    off = (DATA.mean - exact.mean)[missing] / exact.covariance.diagonal()[missing].sqrt()
    assert math.sqrt(float(off.square().mean())) > 0.65


def test_draw_depends_on_seed_and_known_pixels_only():
    process = ReverseProcess(DATA.network(FINE), FINE.strided(7))
    image = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
    other = image.masked_fill(~KEPT, torch.nan)
    together = RePaintSampler(process, image, KEPT, 2, 2).sample((3, 1, 4, 4), image_generators(1, 0, 3))
    alone = RePaintSampler(process, other, KEPT, 2, 2).sample((1, 1, 4, 4), image_generators(1, 2, 1))
    torch.testing.assert_close(together[2:], alone, atol=1e-6, rtol=0)


def test_bad_jumps_and_masks_are_refused():
    process = ReverseProcess(DATA.network(FINE), FINE.strided(2))
    with pytest.raises(ConfigurationError, match=r"^jump must be at least 1, got 0"):
        RePaintSampler(process, torch.zeros(1, 1, 4, 4), KEPT, jump=0)
    with pytest.raises(ConfigurationError, match=r"^resamplings must be at least 1, got 0"):
        visits(5, 1, 0)
    with pytest.raises(ShapeError, match=r"bool and of the image's shape \(1, 4, 4\), got torch.bool \(3, 4\)"):
        RePaintSampler(process, torch.zeros(1, 1, 4, 4), KEPT[:3])
    with pytest.raises(ShapeError, match=r"got torch\.float32"):
        RePaintSampler(process, torch.zeros(1, 1, 4, 4), KEPT.float())
