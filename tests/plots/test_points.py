"""Point clouds and score fields."""

from dataclasses import dataclass

import pytest
import torch
from matplotlib.quiver import Quiver
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots import chain_of_points


@dataclass(frozen=True)
class Field:
    places: Tensor
    learned: Tensor
    exact: Tensor | None


def grid() -> Tensor:
    line = torch.linspace(-1, 1, 3)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(-1, 2)


def cloud(scale: float) -> Tensor:
    return scale * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("known", [True, False])
def test_a_column_per_t_and_a_row_per_field(known: bool):
    places = grid()
    field = Field(places, 2 * places, 3 * places if known else None)
    figure = chain_of_points([1000, 0], [cloud(1), cloud(0.3)], [cloud(2), cloud(0.3)], [field, None])
    rows = 4 if known else 3
    assert len(figure.axes) == 2 * rows
    assert [axes.get_title() for axes in figure.axes[:2]] == ["t = 1000", "t = 0"]
    for column in range(2):  # one scale, that of q's cloud
        assert len({axes.get_xlim() for axes in figure.axes[column::2]}) == 1
    assert figure.axes[0].get_xlim()[1] > 2 * figure.axes[1].get_xlim()[1]
    arrows = [sum(isinstance(artist, Quiver) for artist in axes.collections) for axes in figure.axes]
    assert arrows == [0, 0, 0, 0, 1, 0, *([1, 0] if known else [])]
    assert [axes.axison for axes in figure.axes[5::2]] == [False] * (rows - 2)


def test_both_fields_share_the_arrow_scale():
    places = grid()
    figure = chain_of_points([5], [cloud(1)], [cloud(1)], [Field(places, 2 * places, 4 * places)])
    learned, exact = (axes.collections[0] for axes in figure.axes[2:])
    assert learned.scale == exact.scale
    assert float((4 * places).norm(dim=1).max()) / exact.scale == pytest.approx(1.6)  # the mesh is 1


def test_zero_columns_are_refused():
    with pytest.raises(ShapeError, match="at least one t"):
        chain_of_points([], [], [], [])
