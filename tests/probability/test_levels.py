"""The grid of K levels, and the mean of x_0 given a noisy x for equally likely levels."""

import pytest
import torch

from nelbo.probability import data_to_levels, expected_level, levels_to_data


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_levels_round_trip(levels: int):
    images = torch.arange(levels, dtype=torch.uint8)
    for dtype in (torch.float32, torch.float64):
        x_0 = levels_to_data(images, levels, dtype)
        assert x_0.dtype == dtype
        expected = 2 * images.double() / (levels - 1) - 1
        torch.testing.assert_close(x_0.double(), expected, rtol=0, atol=2e-7 if dtype == torch.float32 else 1e-15)
        assert torch.equal(data_to_levels(x_0, levels), images.long())


def test_data_outside_range_becomes_edge_levels():
    assert data_to_levels(torch.tensor([-7.0, -1.0, -0.999, 0.999, 1.0, 9.0]), 256).tolist() == [0, 0, 0, 255, 255, 255]


def by_summing(x: torch.Tensor, stddev: float, levels: int) -> torch.Tensor:
    """Return E[x_0|x] by Bayes' rule over all K levels."""
    grid = 2 * torch.arange(levels, dtype=torch.float64) / (levels - 1) - 1
    return (torch.softmax(-0.5 * ((x[:, None] - grid) / stddev) ** 2, -1) * grid).sum(-1)


def errors(levels: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return |expected_level - exact| in stddevs, and x, from 3.5 stddevs below the grid to 3.5 above it.

    `spread` is the stddev in levels. Further out, the error grows with the distance d as d / (12 spread^2); fewer than
    1 draw in 4,000 lies there.
    """
    stddev = spread * 2 / (levels - 1)
    x = torch.linspace(-1 - 3.5 * stddev, 1 + 3.5 * stddev, 301, dtype=torch.float64)
    approximate = expected_level(x, torch.tensor(stddev, dtype=torch.float64), levels)
    return (approximate - by_summing(x, stddev, levels)).abs() / stddev, x


SPREADS = [1e-3, 0.03, 0.3, 1.0, 3.0, 3.19, 3.21, 5.0, 20.0, 100.0, 1e3, 1e5]


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("levels", [2, 17])
def test_exact_for_few_levels(levels: int, spread: float):
    error, _ = errors(levels, spread)
    assert float(error.max()) < 1e-9


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("levels", [18, 64, 256])
def test_within_the_stated_error_for_many_levels(levels: int, spread: float):
    """The claim of the docstring: at most 3% of the stddev outside the edges, and much less inside."""
    error, x = errors(levels, spread)
    assert float(error.max()) < 0.03
    assert float(error[(x.abs() <= 1)].max()) < 0.01


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_expected_level_of_extreme_arguments_is_finite(levels: int):
    stddev = torch.tensor([1e-5, 1e-3, 0.1, 1.0, 30.0, 200.0, 2e4])
    x = torch.tensor([-1.0, 0.0, 0.37, 1.0])[:, None] + torch.tensor([-6.0, -1.0, 0.0, 6.0])[:, None, None] * stddev
    level = expected_level(x, stddev, levels)
    assert level.shape == (4, 4, 7) and bool(level.isfinite().all())
    assert float(level[..., :6].abs().max()) <= 1.01
