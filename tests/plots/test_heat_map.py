"""The picture of the bits of each pixel: its scale is that of a pixel without a model."""

import pytest
import torch

from nelbo.errors import ShapeError
from nelbo.plots import heat_map_figure


@pytest.mark.parametrize(("channels", "levels", "most"), [(1, 256, 8.0), (3, 256, 24.0), (1, 17, 4.087)])
def test_scale_ends_at_the_bits_without_a_model(channels, levels, most):
    bits = torch.tensor([[0.0, -1.0, 2.0], [3.0, 4.0, 30.0]])
    figure = heat_map_figure(torch.zeros(channels, 2, 3), bits, levels, "a title")
    left, right, bar = figure.axes
    [shown] = right.images
    assert shown.get_clim() == pytest.approx((0, most), abs=1e-3)
    assert shown.get_array().tolist() == bits.clamp(min=0).tolist()
    assert bar.get_ylabel() == f"bits per pixel ({most:.3g} without a model)" and shown.colorbar.extend == "max"
    assert len(left.images) == 1 and figure.get_suptitle() == "a title"


def test_pixels_within_the_scale_need_no_arrow():
    figure = heat_map_figure(torch.zeros(1, 2, 2), torch.ones(2, 2), 256)
    assert figure.axes[1].images[0].colorbar.extend == "neither"


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"an image \(2, 2, 2\) with bits \(2, 2\) cannot be drawn"):
        heat_map_figure(torch.zeros(2, 2, 2), torch.ones(2, 2), 256)
    with pytest.raises(ShapeError, match=r"bits \(2, 3\)"):
        heat_map_figure(torch.zeros(1, 2, 2), torch.ones(2, 3), 256)
