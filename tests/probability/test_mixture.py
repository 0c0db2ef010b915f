"""A fully known distribution, observed through noise, against sums and integrals computed here."""

import math

import pytest
import torch
from scipy import integrate, stats

from nelbo.probability import Mixture

WEIGHTS, CENTRES = [0.5, 0.2, 0.3], [-0.7, 0.1, 0.4]


def line(variance: float) -> Mixture:
    return Mixture(torch.tensor(CENTRES).view(3, 1), torch.tensor(WEIGHTS), variance)


def density(x: float, spread: float, signal: float = 1.0) -> float:
    width = math.sqrt(spread)
    return sum(w * stats.norm.pdf(x, signal * c, width) for w, c in zip(WEIGHTS, CENTRES, strict=True))


def test_weights_of_points_are_shares():
    images = torch.tensor([[1.0, 2], [3, 4], [1, 2], [5, 6]]).view(4, 1, 1, 2)
    known = Mixture.of_points(images)
    assert known.centres.shape == (3, 1, 1, 2)
    masses = known.log_prob(torch.cat([images, images[:1] + 1e-6])).exp()
    torch.testing.assert_close(masses, torch.tensor([0.5, 0.25, 0.5, 0.25, 0]).double())


@pytest.mark.parametrize("variance", [0.0, 0.02])
def test_density_of_noisy_data(variance: float):
    x = torch.tensor([[-1.0], [0.2]])
    expected = [density(float(v), 0.6**2 * variance + 0.3**2, 0.6) for v in x]
    torch.testing.assert_close(
        line(variance).log_prob(x, 0.6, 0.3).exp(), torch.tensor(expected).double(), rtol=1e-6, atol=0
    )


def test_posterior_moments_by_integration():
    """Mean and variance of q(x_0|x) for components with a width, by Bayes' rule integrated over x_0."""
    for x in (-0.8, 0.05, 0.9):

        def moment(power: int, x: float = x) -> float:
            return integrate.quad(
                lambda x_0: x_0**power * density(x_0, 0.02) * stats.norm.pdf(x, 0.6 * x_0, 0.3), -3, 3, limit=200
            )[0]

        total, first, second = (moment(power) for power in range(3))
        found = line(0.02).given(torch.tensor([[x]], dtype=torch.float64), 0.6, 0.3)
        assert float(found.mean) == pytest.approx(first / total, rel=1e-6)
        assert float(found.variance) == pytest.approx(second / total - (first / total) ** 2, rel=1e-6)


def test_moments_equal_posterior_without_signal():
    known = line(0.02)
    mean = sum(w * c for w, c in zip(WEIGHTS, CENTRES, strict=True))
    variance = sum(w * (c - mean) ** 2 for w, c in zip(WEIGHTS, CENTRES, strict=True)) + 0.02
    for found in (known.moments(), known.given(torch.ones(1, 1), 0.0, 1.0)):
        assert found.mean.shape == (1, 1)
        assert (float(found.mean), float(found.variance)) == pytest.approx((mean, variance))


def test_variance_of_distant_points_is_not_negative():
    """Rounding could make the variance of the posterior negative here."""
    known = Mixture.of_points(torch.tensor([[[1.0, -1.0]], [[-1.0, 0.3]]]))
    found = known.given(known.centres, 1.0, 1e-3)
    torch.testing.assert_close(found.mean, known.centres.double())
    assert bool((found.variance == 0).all())
