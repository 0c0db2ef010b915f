"""Eq. 16 for known data: densities by hand, terms by integration, and the same mean as eq. 5.

Statistical checks use |z| < 3 (one false alarm in 370 seeds for each) with fixed seeds.
"""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from nelbo.diffusion import (
    Calibrated,
    DataPrediction,
    FixedLarge,
    FixedSmall,
    ForwardProcess,
    KnownBound,
    NoiseSchedule,
    ReverseProcess,
    VariationalBound,
    sum_dims,
)
from nelbo.errors import DataError
from nelbo.probability import DiagonalGaussian, Mixture, kl_divergence, levels_to_data
from tests.diffusion.oracle import GaussianData, at, z_score

COARSE = NoiseSchedule.from_alphas_bar([1, 0.98, 0.9, 0.5, 0.2, 0.05])  # T = 5
IMAGES = levels_to_data(torch.randint(17, (7, 1, 2, 2), generator=torch.Generator().manual_seed(1)), 17, torch.float64)
IMAGES = torch.cat([IMAGES, IMAGES[:1]])  # one image twice
POINTS = Mixture.of_points(IMAGES)
CIRCLE = torch.arange(8) * (math.pi / 4)
RING = 0.35 * torch.stack([CIRCLE.cos(), CIRCLE.sin()], 1)[:, :, None, None]
GAUSSIANS = Mixture(RING, torch.full((8,), 1 / 8), 1e-3)
LARGE = FixedLarge()


def best(data: Mixture, x_t: Tensor, time: Tensor) -> Tensor:
    """Return E[x_0|x_t]."""
    step = int(time[0])
    return data.given(x_t, float(COARSE.signal[step]), float(COARSE.noise_stddev[step])).mean


def at_random(data: Mixture, x_t: Tensor, time: Tensor) -> Tensor:
    """Return the output of an untrained network."""
    num = x_t[0].numel()
    weights = torch.randn(num, num, generator=torch.Generator().manual_seed(3), dtype=x_t.dtype)
    return 3 * torch.tanh(x_t.flatten(1) @ weights).view_as(x_t)


def process(network, data: Mixture, variance=LARGE) -> ReverseProcess:
    return ReverseProcess(lambda x, t: network(data, x, t), COARSE, DataPrediction(), variance, levels=17)


def draws_of(data: Mixture, num: int, generator: torch.Generator) -> Tensor:
    """Draw x_0 ~ q(x_0)."""
    which = torch.multinomial(data.weights.double(), num, replacement=True, generator=generator)
    centres = data.centres.double()[which]
    return centres + math.sqrt(data.variance) * torch.randn(centres.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("data", [POINTS, GAUSSIANS], ids=["points", "gaussians"])
@pytest.mark.parametrize("step", [2, 3, 5])
def test_posterior_is_mixture_of_posteriors(data: Mixture, step: int):
    """Bayes' rule against the explicit mixture: for each component its weight given x_t and its Gaussian."""
    g = torch.Generator().manual_seed(step)
    x_0, q, bound = draws_of(data, 50, g), ForwardProcess(COARSE), KnownBound(process(best, data), data)
    x_before = q.marginal(x_0, at(step - 1, x_0)).sample(g)
    x_t = q.step(x_before, at(step, x_0)).sample(g)
    a_before, a_t = COARSE.alphas_bar[step - 1], COARSE.alphas_bar[step]
    alpha, beta = a_t / a_before, 1 - a_t / a_before
    v_before, v_t = a_before * data.variance + 1 - a_before, a_t * data.variance + 1 - a_t
    centres = data.centres.double()[None]
    log_r = torch.log_softmax(
        data.weights.double().log()
        + DiagonalGaussian(a_t.sqrt() * centres, v_t).log_prob(x_t[:, None]).flatten(2).sum(2),
        1,
    )
    mean = (beta * a_before.sqrt() * centres + alpha.sqrt() * v_before * x_t[:, None]) / v_t
    component = DiagonalGaussian(mean, v_before * beta / v_t)
    by_hand = (log_r + component.log_prob(x_before[:, None]).flatten(2).sum(2)).logsumexp(1)
    torch.testing.assert_close(bound.log_posterior(x_before, x_t, step), by_hand, rtol=1e-9, atol=1e-9)
    matched, r = bound.matched_posterior(x_t, step), log_r.exp()[:, :, None, None, None]
    middle = (r * mean).sum(1)
    torch.testing.assert_close(matched.mean, middle, rtol=1e-9, atol=1e-9)
    spread = (r * (mean - middle[:, None]).square()).sum(1) + component.variance
    torch.testing.assert_close(matched.variance, spread, rtol=1e-9, atol=1e-9)


def test_kl_by_integration():
    """Two points on the line: E KL(q(x_{t-1}|x_t) || p) and KL(q(x_T) || p(x_T)) as integrals."""
    data = Mixture(torch.tensor([-0.75, 0.5]).double().view(2, 1, 1, 1), torch.tensor([0.7, 0.3]))
    bound = KnownBound(process(at_random, data), data)
    grid = torch.linspace(-6, 6, 2001, dtype=torch.float64).view(-1, 1, 1, 1)
    width, step = 12 / 2000, 3
    p = bound.reverse.transition(grid, at(step, grid))
    alpha, beta = COARSE.alphas[step], COARSE.betas[step]

    def marginal(t: int) -> Tensor:
        each = [
            w * stats.norm.pdf(grid.flatten(), c * COARSE.signal[t], COARSE.noise_stddev[t])
            for w, c in ((0.7, -0.75), (0.3, 0.5))
        ]
        return torch.as_tensor(sum(each))

    joint = (
        marginal(step - 1)[:, None]
        * DiagonalGaussian(alpha.sqrt() * grid.view(-1, 1), beta).log_prob(grid.flatten()).exp()
    )
    q = joint / joint.sum(0) / width  # of x_{t-1} (rows) given x_t (columns)
    log_p = DiagonalGaussian(p.mean.view(1, -1), p.variance.view(1, -1)).log_prob(grid.view(-1, 1))
    expected = float((torch.special.xlogy(joint, q) - joint * log_p).sum() * width**2)
    last = marginal(5)
    prior = float((torch.special.xlogy(last, last) - last * bound.reverse.prior.log_prob(grid.flatten())).sum() * width)
    g = torch.Generator().manual_seed(0)
    x_0 = draws_of(data, 100_000, g)
    assert abs(z_score(bound.step(x_0, step, g), expected)) < 3
    assert abs(z_score(bound.prior(x_0, g), prior)) < 3
    assert expected > 0.1 and prior > 1e-4


@pytest.mark.parametrize("network", [best, at_random])
def test_first_step_for_points_is_a_sum(network):
    """t = 1: sum_i q(i|x_1) (log q(i|x_1) - log p_theta(x_0 = i|x_1)), summed here; the mean over x_1 is drawn."""
    bound = KnownBound(process(network, POINTS), POINTS)
    g = torch.Generator().manual_seed(2)
    x_0 = draws_of(POINTS, 4_000, g)
    x_1 = ForwardProcess(COARSE).marginal(x_0, at(1, x_0)).sample(g)
    r = POINTS.log_joint(x_1, math.sqrt(0.98), math.sqrt(0.02)).softmax(1)
    decoder = bound.reverse.decoder(x_1)
    log_p = torch.stack([sum_dims(decoder.log_prob(point.expand_as(x_1))) for point in POINTS.centres], 1)
    kl = (torch.special.xlogy(r, r) - r * log_p).sum(1)
    drawn = bound.step(draws_of(POINTS, 4_000, g), 1, g)
    assert abs(float(kl.mean() - drawn.mean())) < 3 * math.sqrt(float(kl.var() + drawn.var()) / 4_000)


@pytest.mark.parametrize("variance", [FixedLarge(), FixedSmall()], ids=lambda v: v.name)
@pytest.mark.parametrize("network", [best, at_random])
@pytest.mark.parametrize("data", [POINTS, GAUSSIANS], ids=["points", "gaussians"])
def test_eq_16_has_the_mean_of_eq_5(data: Mixture, network, variance):
    """The totals agree; each term of eq. 16 is lower by I(x_0; x_{t-1}|x_t) = H(x_0|x_t) - H(x_0|x_{t-1}).

    The sum of these differences is H(x_0). If x_0 has a density, p_theta(x_0|x_1) is a density too, and only the totals
    are compared.
    """
    reverse, g = process(network, data, variance), torch.Generator().manual_seed(4)
    x_0, q = draws_of(data, 8_000, g), ForwardProcess(COARSE)
    by_5, by_16 = VariationalBound(reverse).terms(x_0, g), KnownBound(reverse, data).terms(x_0, g)
    decoder = by_5.decoder
    if data is GAUSSIANS:
        x_1 = q.marginal(x_0, at(1, x_0)).sample(g)
        decoder = -sum_dims(reverse.transition(x_1, at(1, x_0)).log_prob(x_0))
    assert abs(z_score(by_16.total - (by_5.prior + by_5.denoising.sum(1) + decoder), 0.0)) < 3
    if data is GAUSSIANS:
        return
    doubt = [torch.zeros(len(x_0)).double()]  # H(x_0|x_t)
    for t in range(1, 6):
        x_t = q.marginal(x_0, at(t, x_0)).sample(g)
        r = data.log_joint(x_t, float(COARSE.signal[t]), float(COARSE.noise_stddev[t])).softmax(1)
        doubt.append(-torch.special.xlogy(r, r).sum(1))
    assert abs(z_score(by_5.prior - by_16.prior + doubt[5] - by_16.entropy, 0.0)) < 3
    five, sixteen = (torch.cat([terms.decoder[:, None], terms.denoising], 1) for terms in (by_5, by_16))
    for t in range(1, 6):
        assert abs(z_score(five[:, t - 1] - sixteen[:, t - 1] - doubt[t] + doubt[t - 1], 0.0)) < 3.5  # one of 20


def test_one_gaussian_has_exact_terms():
    """If q(x_{t-1}|x_t) is a Gaussian, the terms don't depend on the draws, and every KL to the exact model is 0."""
    gaussian, g = GaussianData(0.25, 0.09), torch.Generator().manual_seed(5)
    data = Mixture(torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64), torch.ones(1), 0.09)
    exact = ReverseProcess(gaussian.network(COARSE), COARSE, variance=Calibrated(gaussian.mse(COARSE)))
    x_0 = gaussian.draw(10, g)
    terms = KnownBound(exact, data).terms(x_0, g)
    v = 0.05 * 0.09 + 0.95
    assert terms.denoising.abs().max() < 1e-9 and terms.decoder.abs().max() < 1e-9
    torch.testing.assert_close(terms.entropy, torch.full((10,), 0.5 * math.log(2 * math.pi * math.e * 0.09)).double())
    torch.testing.assert_close(terms.prior, torch.full((10,), 0.5 * (v + 0.05 * 0.25**2 - 1 - math.log(v))).double())
    large = KnownBound(ReverseProcess(gaussian.network(COARSE), COARSE, variance=LARGE), data)
    v_before, beta, v_3 = 0.9 * 0.09 + 0.1, 1 - 5 / 9, 0.5 * 0.09 + 0.5
    kl = kl_divergence(
        DiagonalGaussian(x_0, torch.tensor(v_before * beta / v_3)), DiagonalGaussian(x_0, torch.tensor(beta))
    )
    torch.testing.assert_close(large.step(x_0, 3, g), kl.flatten())


def test_a_single_step_has_no_denoising_terms():
    schedule = NoiseSchedule.from_alphas_bar([1, 0.05])
    gaussian, g = GaussianData(0.25, 0.09), torch.Generator().manual_seed(6)
    data = Mixture(torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64), torch.ones(1), 0.09)
    exact = ReverseProcess(gaussian.network(schedule), schedule, variance=Calibrated(gaussian.mse(schedule)))
    terms = KnownBound(exact, data).terms(gaussian.draw(10, g), g)
    assert terms.denoising.shape == (10, 0) and terms.decoder.shape == (10,)


def test_unknown_image_is_refused():
    with pytest.raises(DataError, match="isn't among the points"):
        KnownBound(process(best, POINTS), POINTS).terms(IMAGES + 1 / 16, torch.Generator())
