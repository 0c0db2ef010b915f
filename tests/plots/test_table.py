"""Tables of pictures, and the figures built on them."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots import forward_strip, interpolation_table, neighbours_table, shared_table
from nelbo.plots.table import picture_table


def flat(value: float) -> Tensor:
    return torch.full((1, 2, 2), value)


def shown(figure, columns: int) -> list[list[float | None]]:
    """The mean value of each picture in its place."""
    means = [float(np.mean(axes.get_images()[0].get_array())) if axes.get_images() else None for axes in figure.axes]
    return [means[start : start + columns] for start in range(0, len(means), columns)]


def titles(figure, columns: int) -> list[str]:
    return [axes.get_title() for axes in figure.axes[:columns]]


@dataclass(frozen=True)
class Latent:
    t: int
    x_t: Tensor
    x_0: Tensor
    samples: Tensor


@dataclass(frozen=True)
class Way:
    t: int
    x_0: Tensor


def test_a_table_keeps_empty_places():
    figure = picture_table([[flat(-1), None, flat(1)], [flat(0), None]], left=["a", "b"], captions=[["x", "", "y"]])
    assert shown(figure, 3) == [[0.0, None, 1.0], [0.5, None, None]]
    assert [line.get_ylabel() for line in figure.axes[::3]] == ["a", "b"] and titles(figure, 3) == ["x", "", "y"]


def test_values_out_of_range_are_clipped():
    image = torch.stack([torch.full((2, 2), value) for value in (-7.0, 0.0, 7.0)])
    pixels = picture_table([[image]]).axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(pixels[0, 0], [0, 0.5, 1])


@pytest.mark.parametrize("rows", [[], [[None]], [[torch.zeros(2, 1, 1)]], [[torch.zeros(4, 4)]]])
def test_other_tensors_are_refused(rows):
    with pytest.raises(ShapeError, match="cannot be drawn as a table"):
        picture_table(rows)


def test_samples_are_beside_their_latent():
    latents = [Latent(t, flat(-1)[None], flat(0)[None], torch.stack([flat(1), flat(0.5)])) for t in (900, 100)]
    figure = shared_table(latents)
    assert shown(figure, 5) == [[0.0, 0.5, None, 1.0, 0.75]] * 2
    assert [axes.get_ylabel() for axes in figure.axes[::5]] == ["t = 900", "t = 100"]


def test_a_single_draw_has_a_short_title():
    figure = shared_table([Latent(9, flat(0.0)[None], flat(0.5)[None], flat(1.0)[None])])
    figure.canvas.draw()
    words = figure.axes[3].title.get_window_extent()
    assert figure.axes[3].get_title() and words.x1 <= figure.bbox.x1


def test_interpolations_lie_between_their_sources():
    figure = interpolation_table(
        [Way(500, torch.stack([flat(-0.5), flat(0.5)]))], [0.0, 1.0], torch.stack([flat(-1), flat(1)])
    )
    assert shown(figure, 4) == [[0.0, 0.25, 0.75, 1.0]]
    assert titles(figure, 4) == ["source", "0", "1", "source"]


def test_neighbours_are_beside_their_sample():
    images = torch.stack([flat(-1), flat(1)])
    figure = neighbours_table(images, torch.stack([images, images]), torch.tensor([[1.26, 30.0], [2.0, 40.0]]))
    assert shown(figure, 4) == [[0.0, None, 0.0, 1.0], [1.0, None, 0.0, 1.0]]
    assert titles(figure, 4) == ["sample", "", "1.3", "30.0"]


def test_a_forward_strip_has_a_row_for_each_image():
    figure = forward_strip([0, 7], [torch.stack([flat(-1), flat(1)]), torch.zeros(2, 1, 2, 2)])
    assert shown(figure, 2) == [[0.0, 0.5], [1.0, 0.5]]
    assert titles(figure, 2) == ["t = 0", "7"]
    with pytest.raises(ShapeError, match="at one or more t"):
        forward_strip([], [])
