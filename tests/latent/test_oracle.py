"""The bound of latent diffusion against closed forms: a linear Gaussian VAE with the exact model of its latents."""

import math
from dataclasses import replace

import pytest
import torch

from nelbo.diffusion import BoundTerms, NoiseSchedule, VariationalBound, sum_dims
from nelbo.latent import ContinuousReverse, LatentBound, LatentScale, latent_bound
from nelbo.probability import DiagonalGaussian, kl_divergence
from tests.diffusion.oracle import GaussianData
from tests.latent.linear import exact_mean, exact_reverse, scale_of, scaled_data
from tests.vae.oracle import ProbabilisticPCA

LATENT, DIMS, STEPS = 3, 5, 12
SCALES = [scale_of(0.0, 1.0), scale_of(0.0, 0.4), scale_of(-0.7, 2.5)]
# from a log SNR of 5 to one of -40, where x_T has no trace of x_0
SCHEDULE = NoiseSchedule.log_linear(STEPS, 5.0, -40.0)


def chain_of(reverse, u):
    """Return the bound on -log p(u), (B,) nats, with the expectation over the noise of every t exact."""
    bound = VariationalBound(reverse)

    def step(t):
        at = torch.full((len(u),), t)
        return exact_mean(lambda noise: bound.step(u, at, noise), tuple(u.shape))

    steps = torch.stack([step(t) for t in range(1, reverse.schedule.num_steps + 1)], 1)
    return BoundTerms(bound.prior(u), steps[:, 1:], steps[:, 0])


def expected_bound(model, scale, reverse, x_0):
    """Return the bound, with the expectation over z exact too: by two draws of its noise, see `exact_mean`."""
    q = model.posterior(x_0)

    def at(noise):
        z = q.mean + q.stddev * noise
        u = scale.scaled(z)
        reconstruction = -sum_dims(model.likelihood(z).log_prob(x_0))
        terms = LatentBound(reconstruction, -sum_dims(q.entropy()), chain_of(reverse, u), scale.log_jacobian(u))
        return terms.total

    # p(x|z) mixes the dimensions of z: all corners of the cube, so that the products of two dimensions cancel
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * LATENT)
    return torch.stack([at(corner.expand_as(q.mean)) for corner in corners]).mean(0)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("blur", [1.0, 0.5, 3.0])
def test_bound_is_log_p_plus_the_gap_of_the_encoder(scale, blur):
    """With the exact diffusion model, only q(z|x) is not exact: the bound is -log p(x) + KL(q(z|x) || p(z|x))."""
    exact, model = (ProbabilisticPCA.random(DIMS, LATENT, blur=each) for each in (1.0, blur))
    x_0, reverse = exact.sample(4), exact_reverse(SCHEDULE, scaled_data(scale))
    gap = sum_dims(kl_divergence(model.posterior(x_0), exact.posterior(x_0)))
    found = expected_bound(model, scale, reverse, x_0)
    torch.testing.assert_close(found, gap - exact.log_prob(x_0), rtol=0, atol=1e-6)
    assert bool((gap > 0.1).all()) == (blur != 1)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_chain_of_the_exact_model_is_the_density_of_its_latents(scale):
    data, u = (
        scaled_data(scale),
        torch.randn(6, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    )
    found = chain_of(exact_reverse(SCHEDULE, data), u).total + scale.log_jacobian(u)
    log_p = sum_dims(DiagonalGaussian(torch.zeros(()), torch.ones(())).log_prob(scale.unscaled(u)))
    torch.testing.assert_close(found, -log_p, rtol=0, atol=1e-6)


def test_a_wrong_model_of_the_latents_costs_its_kl_divergence():
    """The chain of u ~ N(0.3, 2) is a bound on -log p of its own, and on average KL(N(0, 1) || N(0.3, 2)) worse."""
    wrong, scale = GaussianData(0.3, 2.0), scale_of(0.0, 1.0)
    nodes = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)  # mean 0, variance 1, and the density is quadratic
    found = chain_of(exact_reverse(SCHEDULE, wrong), nodes).total.mean()
    kl = kl_divergence(
        DiagonalGaussian(torch.zeros(()), torch.ones(())), DiagonalGaussian(torch.tensor(0.3), torch.tensor(2.0))
    )
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    assert found - entropy == pytest.approx(float(kl), abs=1e-6)
    assert scale.log_jacobian(nodes).tolist() == [0, 0]


def test_an_inexact_network_can_only_raise_the_bound():
    """The expectation over the data of the bound exceeds that of -log p, and more so the further the network is off."""
    data, u = scaled_data(scale_of(0.0, 0.5)), torch.tensor([[2.0], [-2.0]], dtype=torch.float64)  # variance 4
    exact = exact_reverse(SCHEDULE, data)
    nats = []
    for factor in (1.0, 0.98, 0.9, 0.7):
        reverse = replace(exact, network=lambda x_t, t, factor=factor: factor * exact.network(x_t, t))
        nats.append(float(chain_of(reverse, u).total.mean()))
    assert nats[0] == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 4), abs=1e-6)
    assert nats == sorted(nats)
    assert nats[1] > nats[0] + 1e-4


def test_fixed_variance_of_the_last_step_is_that_of_a_flat_prior():
    """For data much wider than the noise, it is the exact one; betatilde of the paper would cost thousands of nats."""
    data, u = GaussianData(0.0, 1e4), torch.tensor([[100.0], [-100.0]], dtype=torch.float64)
    schedule = NoiseSchedule.log_linear(400, 5.0, -40.0)
    exact, fixed = exact_reverse(schedule, data), ContinuousReverse(data.network(schedule), schedule)
    first = [float(chain_of(each, u).decoder.mean()) for each in (exact, fixed)]
    assert first[1] == pytest.approx(first[0], abs=1e-5)


def test_sampled_bound_has_the_exact_expectation():
    """False alarm: 1 in 10^5 (a z-score of 4.4), seeds 0 and 1."""
    model, scale = ProbabilisticPCA.random(DIMS, LATENT, blur=2.0), scale_of(0.5, 2.0)
    x_0 = model.sample(1).expand(4000, -1)
    reverse = ContinuousReverse(lambda x_t, t: 0.8 * x_t, NoiseSchedule.log_linear(6, 5.0, -9.0))
    noise = torch.randn(4000, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = latent_bound(model, scale, reverse, x_0, noise, torch.Generator().manual_seed(1)).total
    expected = expected_bound(model, scale, reverse, x_0[:1])
    assert abs(float((drawn.mean() - expected) / (drawn.std() / math.sqrt(len(drawn))))) < 4.4


def test_scale_of_channels_is_inverted_and_counted():
    u = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale = LatentScale(torch.randn(3, 1, 1).double(), torch.rand(3, 1, 1).double() + 0.5)
    torch.testing.assert_close(scale.scaled(scale.unscaled(u)), u)
    jacobian = torch.autograd.functional.jacobian(lambda each: scale.unscaled(each).flatten(), u[0])
    expected = jacobian.reshape(60, 60).slogdet().logabsdet
    torch.testing.assert_close(scale.log_jacobian(u), expected.expand(2))
