"""The ELBO, the importance-weighted bound and plain Monte Carlo against a known log p(x)."""

import math

import pytest
import torch

from nelbo.errors import ConfigurationError
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.vae import elbo, fit_posterior, monte_carlo
from tests.vae.oracle import ProbabilisticPCA

DRAWS = 20_000


def draws_of_elbo(model, x):
    """Return (DRAWS,) one-sample ELBOs of one example x."""
    noise = torch.randn(DRAWS, model.weights.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return elbo(model, x.expand(DRAWS, -1), noise).total


def test_elbo_with_exact_posterior_is_log_p():
    """Within 4.5 standard errors for each of 3 examples: one false alarm in 50,000 seeds."""
    model = ProbabilisticPCA.random(6, 3)
    for x in model.sample(3):
        totals = draws_of_elbo(model, x)
        assert abs(float(totals.mean() - model.log_prob(x))) < 4.5 * float(totals.std()) / math.sqrt(DRAWS)


def test_elbo_gap_is_kl_to_posterior():
    model, exact = ProbabilisticPCA.random(6, 3, blur=4.0), ProbabilisticPCA.random(6, 3)
    for x in model.sample(3):
        totals = draws_of_elbo(model, x)
        gap = kl_divergence(model.posterior(x[None]), exact.posterior(x[None])).sum()
        assert gap > 1
        assert abs(float(totals.mean() + gap - model.log_prob(x))) < 4.5 * float(totals.std()) / math.sqrt(DRAWS)


def test_importance_weighted_bound_is_exact_with_posterior():
    model = ProbabilisticPCA.random(6, 3)
    x = model.sample(4)
    report = monte_carlo(model, x, samples=37, chunk=5)
    assert report.samples == (1, 10, 37)
    for row in report.importance:
        torch.testing.assert_close(row, model.log_prob(x), rtol=0, atol=1e-9)


def test_plain_monte_carlo_and_wide_q_converge():
    """With three latent dimensions, both are near log p(x) at S = 10^5, and below it for small S."""
    model = ProbabilisticPCA.random(6, 3, blur=4.0)
    x = model.sample(4)
    exact, report = model.log_prob(x), monte_carlo(model, x, samples=100_000, chunk=20_000)
    assert report.samples == (1, 10, 100, 1000, 10_000, 100_000)
    assert float((report.plain[-1] - exact).abs().max()) < 0.15
    assert float((report.importance[-1] - exact).abs().max()) < 0.02
    assert float((report.plain[0] - exact).mean()) < -3
    gap = kl_divergence(model.posterior(x), ProbabilisticPCA.random(6, 3).posterior(x)).sum(1)
    torch.testing.assert_close(report.elbo[-1], exact - gap, rtol=0, atol=0.1)


def test_plain_monte_carlo_fails_in_many_dimensions():
    model = ProbabilisticPCA.random(64, 16, stddev=0.05)
    x = model.sample(4)
    exact, report = model.log_prob(x), monte_carlo(model, x, samples=1000)
    assert float((report.plain[-1] - exact).max()) < -50
    torch.testing.assert_close(report.importance[-1], exact, rtol=0, atol=1e-8)


def test_fitting_closes_the_amortisation_gap():
    """p(z|x) is a diagonal Gaussian here, so the best q is exact; the remaining error is the noise of Adam."""
    model, exact = ProbabilisticPCA.random(6, 3, blur=4.0), ProbabilisticPCA.random(6, 3)
    x = model.sample(4)
    gap = kl_divergence(model.posterior(x), exact.posterior(x)).sum(1)
    fitted = fit_posterior(model, x, 400, torch.Generator().manual_seed(0))
    left = kl_divergence(fitted, exact.posterior(x)).sum(1)
    assert float(gap.min()) > 1 and float(left.max()) < 0.02
    report = monte_carlo(model, x, samples=5000, fit=400)
    assert report.fitted_elbo is not None and report.fitted_importance is not None
    torch.testing.assert_close(report.fitted_importance[-1], model.log_prob(x), rtol=0, atol=0.05)
    assert float((report.fitted_elbo[-1] - report.elbo[-1]).min()) > 0.5
    assert "fitted_elbo" in report.rows()[0] and "fitted_elbo" not in monte_carlo(model, x, samples=1).rows()[0]
    torch.testing.assert_close(fit_posterior(model, x, 0, torch.Generator()).mean, model.posterior(x).mean)
    with pytest.raises(ConfigurationError, match=r"^fit must be 0 or more"):
        fit_posterior(model, x, -1, torch.Generator())


def test_shared_draws_do_not_change_an_image():
    model = ProbabilisticPCA.random(6, 3)
    x = model.sample(3)
    together, alone = (monte_carlo(model, batch, samples=20, chunk=7) for batch in (x, x[:1]))
    torch.testing.assert_close(together.plain[:, :1], alone.plain)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunk_size_does_not_matter(chunk):
    """Each chunk has new draws, so the test uses q = p(z|x), for which all weights are equal."""
    model = ProbabilisticPCA.random(6, 3)
    x, seen = model.sample(2), []
    report = monte_carlo(model, x, samples=23, chunk=chunk, progress=lambda done, total: seen.append((done, total)))
    torch.testing.assert_close(report.importance[-1], model.log_prob(x), rtol=0, atol=1e-9)
    assert seen[-1] == (23, 23)
    assert {1, 10, 23} <= {done for done, _ in seen}


def test_kl_from_prior_has_closed_form():
    """KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - log v) / 2."""
    model = ProbabilisticPCA.random(6, 3)
    x = model.sample(5)
    q = model.posterior(x)
    expected = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).sum(1)
    torch.testing.assert_close(elbo(model, x, torch.zeros(5, 3, dtype=torch.float64)).kl, expected)
    assert float(kl_divergence(DiagonalGaussian(torch.zeros(3), torch.ones(3)), model.prior).sum()) == 0
