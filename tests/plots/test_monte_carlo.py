"""Monte Carlo curves and reconstruction grids."""

import pytest
import torch

from nelbo.errors import DataError, ShapeError
from nelbo.plots import monte_carlo_curves, reconstruction_grid


def test_curves_are_means_over_images():
    samples, values = (1, 10, 100), torch.arange(6.0).reshape(3, 2)
    estimates = {"plain": values - 50, "importance": values, "elbo": values - 1}
    figure = monte_carlo_curves(samples, estimates)
    left, right = figure.axes
    assert [line.get_ydata().tolist() for line in left.get_lines()] == [
        [-49.5, -47.5, -45.5],
        [0.5, 2.5, 4.5],
        [-0.5, 1.5, 3.5],
    ]
    assert len(right.get_lines()) == 2
    assert left.get_xscale() == right.get_xscale() == "log"
    with pytest.raises(DataError, match="at least two values of S; set samples to 10"):
        monte_carlo_curves((1,), {"plain": values[:1]})
    fitted = {**estimates, "fitted_importance": values + 2, "fitted_elbo": values + 1}
    left, right = monte_carlo_curves(samples, fitted).axes
    assert (len(left.get_lines()), len(right.get_lines())) == (5, 4)


def test_reconstructions_are_below_their_originals():
    originals = torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1).expand(10, 1, 72, 72)
    picture = reconstruction_grid(originals, originals + 100)
    assert picture.size == (8 * 74 + 2, 4 * 74 + 2)

    def at(row, column):
        return picture.getpixel((column * 74 + 10, row * 74 + 10))

    assert [at(0, 7), at(1, 7), at(2, 1), at(3, 1), at(2, 2), at(3, 7)] == [7, 107, 9, 109, 255, 255]
    with pytest.raises(ShapeError, match="but their reconstructions"):
        reconstruction_grid(originals, originals[:3])
