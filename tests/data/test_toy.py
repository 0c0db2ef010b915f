import math

import pytest
import torch

from nelbo.data import toy, toy_log_density
from nelbo.data.toy import TOYS
from nelbo.errors import DataError


@pytest.mark.parametrize("name", TOYS)
def test_points_are_seeded_centred_and_of_unit_scale(name: str) -> None:
    points = toy(name, 20_000, torch.Generator().manual_seed(0))
    assert points.shape == (20_000, 2) and points.dtype == torch.float32
    assert points.mean(0).abs().max() < 0.25 and points.std(0).min() > 0.6 and points.std(0).max() < 1.3
    assert points.abs().max() < 4
    assert torch.equal(points, toy(name, 20_000, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["eight-gaussians", "checkerboard"])
def test_density_integrates_to_one_and_is_that_of_the_points(name: str) -> None:
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


def test_moons_are_two_mirrored_arcs() -> None:
    points = toy("moons", 20_000, torch.Generator().manual_seed(0))
    upper = (points / 1.4 + torch.tensor([0.5, 0.25])).norm(dim=1)
    lower = (-points / 1.4 + torch.tensor([0.5, 0.25])).norm(dim=1)
    assert torch.minimum((upper - 1).abs(), (lower - 1).abs()).max() < 0.35


def test_unknown_names() -> None:
    with pytest.raises(DataError, match="expected one of moons"):
        toy("moon", 1, torch.Generator())
    with pytest.raises(DataError, match="no log-density"):
        toy_log_density("moons", torch.zeros(1, 2))
