import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from nelbo.data import toy, toy_log_density, toy_masses, toy_score
from nelbo.data.toy_sets import TOYS, toy_images
from nelbo.errors import DataError


@pytest.mark.parametrize("name", TOYS)
def test_points_are_seeded_centred_and_of_unit_scale(name: str) -> None:
    points = toy(name, 20_000, torch.Generator().manual_seed(0))
    assert points.shape == (20_000, 2) and points.dtype == torch.float32
    assert points.mean(0).abs().max() < 0.25 and points.std(0).min() > 0.6 and points.std(0).max() < 1.3
    assert points.abs().max() < 4
    assert torch.equal(points, toy(name, 20_000, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["eight-gaussians", "checkerboard"])
def test_density_is_normalized_and_matches_the_points(name: str) -> None:
    side = (torch.arange(800, dtype=torch.float64) + 0.5) / 100 - 4
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)
    log_density = toy_log_density(name, grid)
    mass = log_density.exp() * 1e-4
    assert abs(float(mass.sum()) - 1) < 1e-6
    entropy = -float((mass * log_density.clamp(min=-1e3)).sum())
    drawn = -toy_log_density(name, toy(name, 40_000, torch.Generator().manual_seed(1)).double())
    assert abs(float(drawn.mean()) - entropy) < 4 * float(drawn.std()) / math.sqrt(40_000) + 1e-6
    variance = float((mass * grid[..., 0] ** 2).sum())
    points = toy(name, 40_000, torch.Generator().manual_seed(2))[:, 0]
    assert abs(float(points.var()) - variance) < 4 * float((points**2).std()) / 200 + 1e-3


def test_moons_are_two_rotated_arcs() -> None:
    points = toy("moons", 20_000, torch.Generator().manual_seed(0))
    upper = (points / 1.4 + torch.tensor([0.5, 0.25])).norm(dim=1)
    lower = (-points / 1.4 + torch.tensor([0.5, 0.25])).norm(dim=1)
    assert torch.minimum((upper - 1).abs(), (lower - 1).abs()).max() < 0.35


def test_unknown_toy_names_are_refused() -> None:
    with pytest.raises(DataError, match="expected one of moons"):
        toy("moon", 1, torch.Generator())
    with pytest.raises(DataError, match="no log-density"):
        toy_log_density("moons", torch.zeros(1, 2))


@pytest.mark.parametrize("name", ["eight-gaussians", "checkerboard"])
def test_masses_match_the_points_as_images(name: str) -> None:
    """400,000 draws, |z| < 4.5 for chi^2 over the cells that expect ten or more: one false alarm in 100,000 seeds."""
    masses, num = toy_masses(name), 400_000
    assert masses.shape == (256, 256) and masses.dtype == torch.float64
    assert float(masses.sum()) == pytest.approx(1, abs=1e-12)
    levels = toy_images(name, num, torch.Generator().manual_seed(3)).images(range(num)).flatten(1).long()
    counts = torch.bincount(levels[:, 0] * 256 + levels[:, 1], minlength=256**2).view(256, 256)
    assert int(counts[masses == 0].sum()) == 0
    expected = masses * num
    often = expected >= 10
    chi2 = float(((counts - expected).square() / expected)[often].sum())
    cells = int(often.sum())
    assert cells > 500
    assert abs(chi2 - cells) < 4.5 * math.sqrt(2 * cells)


def test_masses_integrate_the_density_over_cells() -> None:
    gaussians, board = toy_masses("eight-gaussians"), toy_masses("checkerboard")
    side = 8 / 255
    for i, j in ((172, 127), (168, 130), (159, 160)):  # level i stands for (2 i / 255 - 1) 4
        first, second = (4 * (2 * k / 255 - 1) - side / 2 + side * (torch.arange(40.0) + 0.5) / 40 for k in (i, j))
        grid = torch.stack(torch.meshgrid(first, second, indexing="ij"), -1).double()
        mean = float(toy_log_density("eight-gaussians", grid).exp().mean())
        assert float(gaussians[i, j]) == pytest.approx(mean * side**2, rel=1e-3)
    inner, outer = 136, 200  # about 0.27 and 2.27
    assert float(board[inner, inner]) == pytest.approx(side**2 / 8)
    assert float(board[inner, 255 - inner]) == float(board[inner, outer]) == 0


@pytest.mark.parametrize(("signal", "stddev"), [(1.0, 0.0), (0.95, 0.3), (0.3, 0.95), (0.006, 1.0)])
def test_score_is_gradient_of_noisy_log_density(signal: float, stddev: float) -> None:
    """Compare with finite differences of a density written independently with scipy's Gaussians."""
    angle = np.arange(8) * np.pi / 4
    centres = signal * 1.4 / 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    variance = 0.02 * signal**2 / 16 + stddev**2

    def log_density(x):
        parts = [stats.multivariate_normal(centre, variance * np.eye(2)).logpdf(x) for centre in centres]
        return logsumexp(parts, axis=0) - np.log(8)

    x = 0.4 * torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    step = 1e-5
    expected = np.stack(
        [(log_density(x + step * e) - log_density(x - step * e)) / (2 * step) for e in np.eye(2)], axis=1
    )
    with torch.no_grad():  # as in a sampler
        score = toy_score("eight-gaussians", torch.from_numpy(x), signal, stddev)
    assert not score.requires_grad
    np.testing.assert_allclose(score.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_score_without_noise_is_that_of_the_points() -> None:
    x = torch.linspace(-0.5, 0.5, 12, dtype=torch.float64).view(6, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(toy_log_density("eight-gaussians", 4 * x).sum(), x)
    torch.testing.assert_close(toy_score("eight-gaussians", x, 1.0, 0.0), gradient, rtol=1e-6, atol=1e-6)


def test_sets_without_closed_form_are_refused() -> None:
    with pytest.raises(DataError, match="no log-density in closed form; expected eight-gaussians or checkerboard"):
        toy_masses("spiral")
    with pytest.raises(DataError, match="'checkerboard' has no score"):
        toy_score("checkerboard", torch.zeros(1, 2), 1.0, 0.0)
