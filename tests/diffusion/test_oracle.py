"""The bound of x_0 ~ N(m, s^2 I) with its exact network, where every term is known, and eqs. 17 to 22 on one path.

Statistical checks use |z| < 4 (one false alarm in 16,000 seeds for each) with fixed seeds.
"""

import math
from itertools import pairwise

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from nelbo.diffusion import (
    Calibrated,
    FixedLarge,
    FixedSmall,
    ForwardProcess,
    NoisePrediction,
    NoiseSchedule,
    ReverseProcess,
    Variance,
    VariationalBound,
    sum_dims,
)
from nelbo.probability import levels_to_data
from tests.diffusion.oracle import GaussianData, at, z_score

LINEAR = NoiseSchedule.linear()
COARSE = NoiseSchedule.from_alphas_bar([1, 0.9, 0.5, 0.2, 0.002])  # T = 4
DATA = GaussianData(0.25, 0.09)
VARIANCES = [FixedLarge(), FixedSmall(), Calibrated(DATA.mse(LINEAR))]


def exact(schedule: NoiseSchedule, variance: Variance, levels: int = 256) -> ReverseProcess:
    """Return p_theta with the best possible network; `schedule` is LINEAR, COARSE or a stride of LINEAR."""
    full = schedule if schedule is COARSE else LINEAR
    return ReverseProcess(DATA.network(full), schedule, NoisePrediction(), variance, levels)


def closed_kl(schedule: NoiseSchedule, t: Tensor, squared_error: Tensor, sigma2: Tensor) -> Tensor:
    """Return the KL of two Gaussians with means c (x_0 - xhat_0) apart, computed from alphas_bar only."""
    abar, before = schedule.alphas_bar[t], schedule.alphas_bar[t - 1]
    beta = 1 - abar / before
    c, tilde = before.sqrt() * beta / (1 - abar), (1 - before) / (1 - abar) * beta
    excess = (tilde - sigma2) / sigma2
    return 0.5 * (excess - excess.log1p() + c**2 * squared_error / sigma2)


@pytest.mark.parametrize("variance", VARIANCES, ids=lambda v: v.name)
@pytest.mark.parametrize("schedule", [LINEAR, LINEAR.strided(21)], ids=["full", "stride"])
def test_each_kl_equals_its_closed_form(schedule: NoiseSchedule, variance: Variance):
    """Every t > 1 at given (x_0, x_t), with a relative error of 1e-6 in float64."""
    t = torch.arange(2, schedule.num_steps + 1)
    g = torch.Generator().manual_seed(0)
    x_0 = DATA.draw(len(t), g)
    noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
    reverse = exact(schedule, variance)
    kl = VariationalBound(reverse).step(x_0, t, noise)

    abar = schedule.alphas_bar[t]
    x_t = abar.sqrt() * x_0.flatten() + (1 - abar).sqrt() * noise.flatten()
    x_hat = 0.25 + abar.sqrt() * 0.09 / (abar * 0.09 + 1 - abar) * (x_t - abar.sqrt() * 0.25)
    tilde = (1 - schedule.alphas_bar[t - 1]) / (1 - abar) * schedule.betas[t]
    c2 = schedule.alphas_bar[t - 1] * schedule.betas[t] ** 2 / (1 - abar) ** 2
    calibrated = tilde + c2 * DATA.mse(schedule)[t]
    sigma2 = {"fixed-large": schedule.betas[t], "fixed-small": tilde, "calibrated": calibrated}[variance.name]
    expected = closed_kl(schedule, t, (x_0.flatten() - x_hat) ** 2, sigma2)
    torch.testing.assert_close(kl, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("variance", VARIANCES, ids=lambda v: v.name)
@pytest.mark.parametrize("t", [2, 10, 300, 1000])
def test_mean_kl_over_draws(variance: Variance, t: int):
    g = torch.Generator().manual_seed(t)
    x_0 = DATA.draw(20_000, g)
    reverse = exact(LINEAR, variance)
    kl = VariationalBound(reverse).step(x_0, at(t, x_0), torch.randn(x_0.shape, generator=g, dtype=torch.float64))
    sigma2 = variance(LINEAR, x_0[:1], torch.tensor([t]), None).flatten()
    expected = closed_kl(LINEAR, torch.tensor([t]), DATA.mse(LINEAR)[t], sigma2)
    assert abs(z_score(kl, expected)) < 4


def test_prior_term():
    x_0 = DATA.draw(50, torch.Generator().manual_seed(1))
    abar = float(LINEAR.alphas_bar[-1])
    expected = 0.5 * (abar * x_0.flatten() ** 2 - abar - math.log1p(-abar))
    torch.testing.assert_close(VariationalBound(exact(LINEAR, FixedLarge())).prior(x_0), expected, rtol=1e-9, atol=0)


def test_every_term_of_a_whole_bound():
    """T = 4: prior, three KLs and their sum against expectations in closed form, 20,000 draws."""
    g = torch.Generator().manual_seed(2)
    x_0 = DATA.draw(20_000, g)
    terms = VariationalBound(exact(COARSE, FixedLarge())).terms(x_0, g)
    assert terms.denoising.shape == (20_000, 3) and terms.prior.shape == terms.decoder.shape == (20_000,)
    for t in (2, 3, 4):
        expected = closed_kl(COARSE, torch.tensor([t]), DATA.mse(COARSE)[t], COARSE.betas[t])
        assert abs(z_score(terms.denoising[:, t - 2], expected)) < 4
    abar = 0.002
    assert abs(z_score(terms.prior, 0.5 * (abar * (0.25**2 + 0.09) - abar - math.log1p(-abar)))) < 4
    torch.testing.assert_close(terms.total, terms.prior + terms.denoising.sum(1) + terms.decoder)


@pytest.mark.parametrize("levels", [2, 17])
def test_decoder_against_bins_integrated_by_hand(levels: int):
    """L_0 at every level, from a density integrated numerically over its bin."""
    reverse = exact(COARSE, FixedLarge(), levels)
    x_0 = levels_to_data(torch.arange(levels), levels, torch.float64).reshape(-1, 1, 1, 1)
    noise = torch.linspace(-2, 2, levels, dtype=torch.float64).reshape(-1, 1, 1, 1)
    decoder = VariationalBound(reverse).decoder(x_0, noise)
    tilde = 0.1 / 0.5 * (1 - 0.5 / 0.9)  # betatilde_2 replaces betatilde_1 = 0
    for k in range(levels):
        x_1 = math.sqrt(0.9) * float(x_0[k]) + math.sqrt(0.1) * float(noise[k])
        mean = 0.25 + math.sqrt(0.9) * 0.09 / (0.9 * 0.09 + 0.1) * (x_1 - math.sqrt(0.9) * 0.25)
        density = stats.norm(mean, math.sqrt(tilde)).pdf
        low = -12.0 if k == 0 else float(x_0[k]) - 1 / (levels - 1)
        high = 12.0 if k == levels - 1 else float(x_0[k]) + 1 / (levels - 1)
        pieces = [low, *[p for p in (mean - 1, mean, mean + 1) if low < p < high], high]
        mass = sum(integrate.quad(density, a, b, epsabs=1e-13)[0] for a, b in pairwise(pieces))
        assert float(decoder[k]) == pytest.approx(-math.log(mass), rel=1e-7, abs=1e-9)


def test_equations_3_and_5_have_one_mean():
    """40,000 examples on 17 levels: the means agree within 4 standard errors, and eq. 5 has the lower variance."""
    g = torch.Generator().manual_seed(3)
    x_0 = levels_to_data(torch.randint(4, 15, (40_000, 1, 1, 1), generator=g), 17, torch.float64)
    bound = VariationalBound(exact(COARSE, FixedSmall(), 17))
    by_path, by_kl = bound.ratio(x_0, g), bound.terms(x_0, g).total
    assert abs(z_score(by_path - by_kl, 0.0)) < 4
    assert float(by_kl.std()) < float(by_path.std())


def test_telescoping_term_by_term():
    """Appendix A on one path for each of 50 examples, T = 4: eqs. 17 to 21 give the same number on each path."""
    g = torch.Generator().manual_seed(4)
    x_0 = levels_to_data(torch.randint(17, (50, 1, 2, 2), generator=g), 17, torch.float64)
    reverse = exact(COARSE, FixedSmall(), 17)
    q = ForwardProcess(COARSE)
    path = [x_0]
    for t in range(1, 5):
        path.append(q.step(path[-1], at(t, x_0)).sample(g))

    def log_p(t: int) -> Tensor:
        if t == 1:
            return reverse.decoder(path[1]).log_prob(x_0)
        return reverse.transition(path[t], at(t, x_0)).log_prob(path[t - 1])

    def log_step(t: int) -> Tensor:
        return q.step(path[t - 1], at(t, x_0)).log_prob(path[t])

    def log_marginal(t: int) -> Tensor:
        return q.marginal(x_0, at(t, x_0)).log_prob(path[t])

    def log_posterior(t: int) -> Tensor:
        return q.posterior(x_0, path[t], at(t, x_0)).log_prob(path[t - 1])

    log_prior = reverse.prior.log_prob(path[4])
    eq_17 = -(log_prior + sum(log_p(t) for t in range(1, 5))) + sum(log_step(t) for t in range(1, 5))
    eq_18 = -log_prior - sum(log_p(t) - log_step(t) for t in range(1, 5))
    eq_19 = -log_prior - sum(log_p(t) - log_step(t) for t in range(2, 5)) - (log_p(1) - log_step(1))
    by_bayes = [log_posterior(t) + log_marginal(t) - log_marginal(t - 1) for t in range(2, 5)]
    for t in range(2, 5):  # Bayes' rule for each factor, then the marginals cancel down to q(x_T|x_0) / q(x_1|x_0)
        torch.testing.assert_close(by_bayes[t - 2], log_step(t), rtol=1e-9, atol=1e-9)
    eq_20 = -log_prior - sum(log_p(t) - b for t, b in zip(range(2, 5), by_bayes, strict=True)) - log_p(1) + log_step(1)
    eq_21 = -(log_prior - log_marginal(4)) - sum(log_p(t) - log_posterior(t) for t in range(2, 5)) - log_p(1)
    for form in (eq_18, eq_19, eq_20, eq_21):
        torch.testing.assert_close(form, eq_17, rtol=1e-9, atol=1e-9)


def test_equation_22_is_inner_mean_of_equation_21():
    """Given x_t, log q(x_{t-1}|x_t,x_0) - log p is quadratic, so its mean over q, a KL, is its mean at +-1 stddev."""
    g = torch.Generator().manual_seed(5)
    x_0 = levels_to_data(torch.randint(17, (50, 1, 2, 2), generator=g), 17, torch.float64)
    reverse = exact(COARSE, FixedLarge(), 17)
    q, bound = ForwardProcess(COARSE), VariationalBound(reverse)
    for t in range(2, 5):
        noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
        x_t = q.sample(x_0, at(t, x_0), noise)
        posterior, transition = q.posterior(x_0, x_t, at(t, x_0)), reverse.transition(x_t, at(t, x_0))
        ends = [posterior.mean - posterior.stddev, posterior.mean + posterior.stddev]
        inner = sum(posterior.log_prob(x) - transition.log_prob(x) for x in ends) / 2
        torch.testing.assert_close(sum_dims(inner), bound.step(x_0, at(t, x_0), noise), rtol=1e-9, atol=1e-10)
    x_T = q.marginal(x_0, at(4, x_0))
    ends = [x_T.mean - x_T.stddev, x_T.mean + x_T.stddev]
    inner = sum(x_T.log_prob(x) - reverse.prior.log_prob(x) for x in ends) / 2
    torch.testing.assert_close(sum_dims(inner), bound.prior(x_0), rtol=1e-9, atol=1e-10)


def test_ratio_is_equation_3_on_its_path():
    """`ratio` against eq. 3 written out on the same path, drawn again from the same seed."""
    x_0 = levels_to_data(torch.randint(17, (6, 1, 2, 2), generator=torch.Generator().manual_seed(6)), 17, torch.float64)
    reverse = exact(COARSE, FixedLarge(), 17)
    by_code = VariationalBound(reverse).ratio(x_0, torch.Generator().manual_seed(7))
    g, x, total = torch.Generator().manual_seed(7), x_0, torch.zeros(6, dtype=torch.float64)
    for t in range(1, 5):
        abar = COARSE.alphas_bar[t] / COARSE.alphas_bar[t - 1]
        x_t = abar.sqrt() * x + (1 - abar).sqrt() * torch.randn(x.shape, generator=g, dtype=torch.float64)
        log_q = -0.5 * (math.log(2 * math.pi) + (1 - abar).log() + (x_t - abar.sqrt() * x) ** 2 / (1 - abar))
        p = reverse.transition(x_t, at(t, x))
        log_p = reverse.decoder(x_t).log_prob(x) if t == 1 else p.log_prob(x)
        total += sum_dims(log_q - log_p)
        x = x_t
    total += sum_dims(0.5 * (math.log(2 * math.pi) + x**2))
    torch.testing.assert_close(by_code, total, rtol=1e-9, atol=1e-9)


def test_bound_is_above_nll():
    """-log p_theta(x_0) of a chain with T = 1, integrated numerically, is below L and close to it."""
    one = NoiseSchedule.from_alphas_bar([1, 0.002])
    network = DATA.network(one)
    reverse = ReverseProcess(network, one, levels=17)
    g = torch.Generator().manual_seed(8)
    x_0 = levels_to_data(torch.tensor([3, 8, 12]), 17, torch.float64).reshape(3, 1, 1, 1)
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    weights = torch.softmax(-0.5 * grid.flatten() ** 2, 0)
    masses = reverse.decoder(grid).log_probs().reshape(4001, 17).exp()
    nll = -(weights[:, None] * masses).sum(0).log()[[3, 8, 12]]
    bound = VariationalBound(reverse)
    draws = bound.terms(x_0.repeat(4000, 1, 1, 1), g).total.reshape(4000, 3)
    error = draws.std(0) / math.sqrt(4000)
    assert bool((draws.mean(0) > nll - 4 * error).all())
    assert bool((draws.mean(0) < nll + 0.05).all())  # x_1 carries almost no information, so the bound is nearly tight


def test_calibrated_variance_gives_the_smallest_bound():
    g = torch.Generator().manual_seed(9)
    x_0 = DATA.draw(3000, g)
    bounds = {}
    for variance in VARIANCES:
        same = torch.Generator().manual_seed(10)
        reverse = exact(LINEAR.strided(25), variance)
        bounds[variance.name] = float(VariationalBound(reverse).terms(x_0, same).denoising.sum(1).mean())
    assert bounds["calibrated"] < min(bounds["fixed-large"], bounds["fixed-small"])


def test_fixed_large_costs_half_a_bit():
    """It costs about 0.49 bits/dim for the linear schedule, T = 1000, even with x_0 known exactly (mse = 0)."""
    r = (LINEAR.posterior_variance / LINEAR.betas)[2:]
    by_hand = float((0.5 * (r - 1 - r.log())).sum()) / math.log(2)
    t = torch.arange(2, 1001)
    x_0 = torch.full((999, 1, 1, 1), 0.3, dtype=torch.float64)
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    knows = ReverseProcess(lambda x, time: noise, LINEAR, variance=FixedLarge())
    cost = float(VariationalBound(knows).step(x_0, t, noise).sum()) / math.log(2)
    assert cost == pytest.approx(by_hand, rel=1e-6) and cost == pytest.approx(0.49, abs=0.02)
