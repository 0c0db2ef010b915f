from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots import trajectory_strip


@dataclass(frozen=True)
class Step:
    t: int
    x_t: Tensor
    x_0: Tensor


def walk(num_steps, shape=(2, 1, 4, 4)):
    """Steps whose x_t has the value t / num_steps everywhere, and whose x_0 is minus that."""
    for t in range(num_steps, -1, -1):
        yield Step(t, torch.full(shape, t / num_steps), torch.full(shape, -t / num_steps))


def shown(figure):
    """The pictures of a figure, row by row: their mean value and their title."""
    return [(float(np.mean(axes.get_images()[0].get_array())), axes.get_title()) for axes in figure.axes]


def test_the_strip_runs_from_first_to_last_step():
    above, below = np.array_split(np.array(shown(trajectory_strip(walk(10), columns=3)), dtype=object), 2)
    assert [title for _, title in above] == ["t = 10", "5", "0"]
    np.testing.assert_allclose([mean for mean, _ in above], [1.0, 0.75, 0.5])
    np.testing.assert_allclose([mean for mean, _ in below], [0.0, 0.25, 0.5])


def test_values_out_of_range_are_clipped():
    step = Step(1, torch.full((1, 3, 2, 2), 7.0), torch.full((1, 3, 2, 2), -7.0))
    assert [mean for mean, _ in shown(trajectory_strip([step]))] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("num_steps", "columns", "images", "panels"), [(3, 10, 1, 8), (100, 10, 2, 40), (100, 1, 5, 4)]
)
def test_columns_and_rows_are_limited(num_steps, columns, images, panels):
    assert len(trajectory_strip(walk(num_steps), columns=columns, images=images).axes) == panels


@pytest.mark.parametrize("steps", [[], list(walk(2, shape=(5, 2))), list(walk(2, shape=(0, 1, 4, 4)))])
def test_other_tensors_are_refused(steps):
    with pytest.raises(ShapeError, match="cannot be drawn"):
        trajectory_strip(steps)
