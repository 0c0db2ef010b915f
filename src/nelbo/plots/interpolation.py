"""Interpolation between two images in x_t (Ho et al., fig. 8)."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.table import picture_table


class Way(Protocol):
    """Images decoded between two x_t at t: (L, C, H, W), one for each weight."""

    @property
    def t(self) -> int: ...
    @property
    def x_0(self) -> Tensor: ...


def interpolation_table(ways: Sequence[Way], weights: Sequence[float], pair: Tensor) -> Figure:
    """Draw a row for each t and a column for each weight, with the two sources `pair` (2, C, H, W) at the ends.

    Raises:
        ShapeError: no row, or no image in it.
    """
    rows = [[pair[0], *way.x_0, pair[1]] for way in ways]
    titles = ["source", *(f"{weight:.2g}" for weight in weights), "source"]
    return picture_table(rows, left=[f"t = {way.t}" for way in ways], captions=[titles])
