"""One image turning into another, by way of x_t (Ho et al., fig. 8)."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.table import picture_table


class Way(Protocol):
    """What was decoded between two x_t at t: (L, C, H, W), an image for each weight."""

    @property
    def t(self) -> int: ...
    @property
    def x_0(self) -> Tensor: ...


def interpolation_table(ways: Sequence[Way], weights: Sequence[float], pair: Tensor) -> Figure:
    """A row for each t, a column for each weight, and the `pair` (2, C, H, W) that it goes between at the ends.

    Raises ShapeError where there is no row, or no image in it.
    """
    rows = [[pair[0], *way.x_0, pair[1]] for way in ways]
    titles = ["source", *(f"{weight:.2g}" for weight in weights), "source"]
    return picture_table(rows, left=[f"t = {way.t}" for way in ways], captions=[titles])
