"""Table 2 as pictures: its numbers as coloured tables, and samples of every cell at its place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from nelbo.errors import DataError
from nelbo.plots.style import INK, new_figure
from nelbo.plots.table import picture_table
from nelbo.probability import levels_to_data

BLANK = 0.8  # grey of a cell without samples, as data
ABSENT = "#E8E8E8"
DARK = 0.55  # share of the colour scale above which text is white


@dataclass(frozen=True)
class HeatTable:
    """A table of numbers above 0, coloured by their logarithm; lower is better.

    Attributes:
        title: text above the table.
        rows, columns: names.
        values: by row and column; None leaves a place grey.
        words: text in each place.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    words: Sequence[Sequence[str]]


def heat_tables(tables: Sequence[HeatTable]) -> Figure:
    """Draw tables above one another. Raises DataError without tables."""
    if not tables:
        raise DataError("there is no table to draw; give at least one.")
    sizes = [0.6 * len(table.rows) + 0.9 for table in tables]
    figure = new_figure(1.2 + 1.25 * max(len(table.columns) for table in tables), sum(sizes))
    panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, table in zip(panels, tables, strict=True):
        _draw(axes, table)
    return figure


def _draw(axes: Axes, table: HeatTable) -> None:
    known = [value for row in table.values for value in row if value is not None and math.isfinite(value) and value > 0]
    best = min(known, default=1.0)
    norm, colours = LogNorm(best, max(known, default=1.0)), colormaps["Blues"]
    for i, (values, words) in enumerate(zip(table.values, table.words, strict=True)):
        for j, (value, word) in enumerate(zip(values, words, strict=True)):
            shade = 0.1 + 0.8 * float(norm(value)) if value is not None and value in known else 0.0
            axes.fill_between([j, j + 1], i, i + 1, color=colours(shade) if shade else ABSENT, linewidth=0)
            axes.text(
                j + 0.5,
                i + 0.5,
                word,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shade > DARK else INK,
                fontweight="bold" if value == best else "normal",
            )
    axes.set_xticks(range(len(table.columns) + 1), minor=True)
    axes.set_yticks(range(len(table.rows) + 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.set_xlim(0, len(table.columns))
    axes.set_ylim(len(table.rows), 0)
    axes.set_xticks([j + 0.5 for j in range(len(table.columns))], table.columns)
    axes.set_yticks([i + 0.5 for i in range(len(table.rows))], table.rows)
    axes.xaxis.tick_top()
    axes.tick_params(which="both", length=0, labelsize=8, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_title(table.title, loc="left", fontsize=10, color=INK)


def samples_by_cell(
    rows: Sequence[str], columns: Sequence[str], samples: Sequence[Sequence[Tensor | None]], levels: int, side: int = 4
) -> Figure:
    """Draw a square of side x side samples at each place; missing samples are grey.

    Args:
        samples: by row and column, uint8 (N, C, H, W) of K = `levels`.

    Raises:
        DataError: no samples at all.
    """
    given = [images for row in samples for images in row if images is not None]
    if not given:
        raise DataError("no cell has samples to draw.")
    shape = given[0].shape[1:]

    def tile(images: Tensor | None) -> Tensor:
        data = torch.full((side * side, *shape), BLANK)
        if images is not None:
            shown = images[: side * side]
            data[: len(shown)] = levels_to_data(shown, levels)
        channels, height, width = shape
        framed = pad(data, (0, 1, 0, 1), value=BLANK)
        squares = framed.view(side, side, channels, height + 1, width + 1).permute(2, 0, 3, 1, 4)
        return squares.reshape(channels, side * (height + 1), side * (width + 1))[:, :-1, :-1]

    return picture_table([[tile(images) for images in row] for row in samples], rows, [columns])
