"""The forward process q: chained steps equal the closed form, and the posterior obeys Bayes' rule."""

import math

import pytest
import torch

from nelbo.diffusion import ForwardProcess, NoiseSchedule
from tests.diffusion.oracle import at, z_score

SCHEDULES = {
    "linear": NoiseSchedule.linear(),
    "cosine": NoiseSchedule.cosine(300),
    "log_linear": NoiseSchedule.log_linear(400),
    "stride": NoiseSchedule.linear().strided(13),
}


@pytest.fixture(params=SCHEDULES, name="schedule")
def _schedule(request: pytest.FixtureRequest) -> NoiseSchedule:
    return SCHEDULES[request.param]


def every(schedule: NoiseSchedule, seed: int, first: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return one (t, x_0, x_t) for each t."""
    t = torch.arange(first, schedule.num_steps + 1)
    g = torch.Generator().manual_seed(seed)
    x_0 = torch.rand(len(t), 1, 2, 3, generator=g, dtype=torch.float64) * 2 - 1
    noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
    return t, x_0, ForwardProcess(schedule).sample(x_0, t, noise)


def test_next_step_equals_closed_form(schedule: NoiseSchedule):
    """Eq. 2 applied to eq. 4 at t - 1 gives eq. 4 at t: mean and variance of the composed Gaussian."""
    q = ForwardProcess(schedule)
    t, x_0, _ = every(schedule, 0)
    before, now = q.marginal(x_0, t - 1), q.marginal(x_0, t)
    step = q.step(before.mean, t)
    torch.testing.assert_close(step.mean, now.mean, rtol=1e-11, atol=1e-13)
    gain = (q.step(torch.ones_like(x_0), t).mean - q.step(torch.zeros_like(x_0), t).mean) ** 2
    torch.testing.assert_close((gain * before.variance + step.variance), now.variance.expand_as(x_0), rtol=1e-9, atol=0)


def test_two_steps_by_hand():
    """x_2 = sqrt(a_2) (sqrt(a_1) x_0 + sqrt(b_1) z_1) + sqrt(b_2) z_2, with beta_1 = 0.19 and beta_2 = 0.36."""
    q = ForwardProcess(NoiseSchedule.from_alphas_bar([1, 0.81, 0.81 * 0.64, 1e-3]))
    x_0 = torch.full((1, 1), 0.5, dtype=torch.float64)
    two = q.marginal(x_0, torch.tensor([2]))
    assert float(two.mean) == pytest.approx(0.8 * 0.9 * 0.5) and float(two.variance) == pytest.approx(
        0.64 * 0.19 + 0.36
    )


def test_two_drawn_steps_equal_closed_form():
    """40,000 draws, |z| < 4.5 for mean and variance: one false alarm in 70,000 seeds."""
    q = ForwardProcess(NoiseSchedule.from_alphas_bar([1, 0.7, 0.2, 1e-3]))
    g = torch.Generator().manual_seed(1)
    x_0 = torch.full((40_000, 1), 0.6, dtype=torch.float64)
    x_2 = q.step(q.step(x_0, at(1, x_0)).sample(g), at(2, x_0)).sample(g)
    closed = q.marginal(x_0, at(2, x_0))
    mean, variance = float(closed.mean[0]), float(closed.variance[0])
    assert abs(z_score(x_2[:, 0], mean)) < 4.5
    assert abs(z_score((x_2[:, 0] - mean) ** 2, variance)) < 4.5


def test_sample_is_the_marginal_reparameterised(schedule: NoiseSchedule):
    q = ForwardProcess(schedule)
    t, x_0, _ = every(schedule, 2, first=1)
    zero, one = torch.zeros_like(x_0), torch.ones_like(x_0)
    torch.testing.assert_close(q.sample(x_0, t, zero), q.marginal(x_0, t).mean)
    spread = q.sample(x_0, t, one) - q.sample(x_0, t, zero)
    torch.testing.assert_close(spread, q.marginal(x_0, t).stddev.expand_as(x_0))


def test_posterior_is_bayes_rule(schedule: NoiseSchedule):
    """q(x_{t-1}|x_t, x_0) ~ q(x_t|x_{t-1}) q(x_{t-1}|x_0): a product of two Gaussians in x_{t-1}, completed by hand."""
    abar = schedule.alphas_bar
    t, x_0, x_t = every(schedule, 3)
    alpha = (abar[t] / abar[t - 1]).reshape(-1, 1, 1, 1)
    before = abar[t - 1].reshape(-1, 1, 1, 1)
    precision = 1 / (1 - before) + alpha / (1 - alpha)
    mean = (before.sqrt() * x_0 / (1 - before) + alpha.sqrt() * x_t / (1 - alpha)) / precision
    posterior = ForwardProcess(schedule).posterior(x_0, x_t, t)
    # At 1 - alphas_bar = 3e-7, float64 has a relative precision of only 4e-10.
    rtol = 1e-9 if schedule is SCHEDULES["log_linear"] else 1e-10
    torch.testing.assert_close(posterior.variance, 1 / precision, rtol=rtol, atol=0)
    torch.testing.assert_close(posterior.mean, mean, rtol=rtol, atol=1e-12)


def test_posterior_joint_density(schedule: NoiseSchedule):
    """q(x_t|x_{t-1}) q(x_{t-1}|x_0) = q(x_{t-1}|x_t, x_0) q(x_t|x_0) at random points."""
    q = ForwardProcess(schedule)
    t, x_0, x_t = every(schedule, 4)
    x_before = q.posterior(x_0, x_t, t).sample(torch.Generator().manual_seed(5))
    forwards = q.step(x_before, t).log_prob(x_t) + q.marginal(x_0, t - 1).log_prob(x_before)
    backwards = q.posterior(x_0, x_t, t).log_prob(x_before) + q.marginal(x_0, t).log_prob(x_t)
    tolerance = 1e-5 if schedule is SCHEDULES["log_linear"] else 1e-8  # beta_2 is 8e-9 there
    torch.testing.assert_close(forwards, backwards, rtol=tolerance, atol=tolerance)


def test_posterior_at_first_step_is_data(schedule: NoiseSchedule):
    x_0 = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    point = ForwardProcess(schedule).posterior(x_0, x_0 + 0.1, at(1, x_0))
    assert torch.equal(point.mean, x_0) and float(point.variance.max()) == 0


def test_posterior_mean_through_the_noise(schedule: NoiseSchedule):
    """Eqs. 9 and 10: mutilde_t = (x_t - beta_t / sqrt(1 - abar_t) noise) / sqrt(alpha_t)."""
    t, x_0, x_t = every(schedule, 6, first=1)
    abar, before = (schedule.alphas_bar[k].reshape(-1, 1, 1, 1) for k in (t, t - 1))
    noise = (x_t - abar.sqrt() * x_0) / (1 - abar).sqrt()
    alpha = abar / before
    expected = (x_t - (1 - alpha) / (1 - abar).sqrt() * noise) / alpha.sqrt()
    torch.testing.assert_close(ForwardProcess(schedule).posterior(x_0, x_t, t).mean, expected, rtol=1e-9, atol=1e-10)


def test_posterior_mean_by_numbers():
    """alphas_bar 0.9 and 0.5, x_0 = 1, x_t = 0.2: eq. 7 computed by hand."""
    q = ForwardProcess(NoiseSchedule.from_alphas_bar([1, 0.9, 0.5, 1e-3]))
    x = torch.ones(1, 1, dtype=torch.float64)
    posterior = q.posterior(x, 0.2 * x, torch.tensor([2]))
    alpha = 0.5 / 0.9
    expected = math.sqrt(0.9) * (1 - alpha) / 0.5 + math.sqrt(alpha) * 0.1 / 0.5 * 0.2
    assert float(posterior.mean) == pytest.approx(expected) == pytest.approx(0.873088, abs=1e-6)
    assert float(posterior.variance) == pytest.approx(0.1 / 0.5 * (1 - alpha))
