"""The common style of all figures: Okabe and Ito's colour-blind safe palette, two spines, a light grid."""

import math
from io import BytesIO
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, FAINT = "#333333", "#BBBBBB"
PALETTE = (BLUE, ORANGE, GREEN, PINK, "#E69F00", "#56B4E9", "#000000")
QUARTERS = (BLUE, GREEN, ORANGE, PINK)
FEW_POINTS = 30  # a curve of at most so many shows each of them


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of width x height inches at 150 dots per inch, with its own Agg canvas and without pyplot."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def figure_png(figure: Figure, dpi: float | Literal["figure"] = "figure") -> bytes:
    """Return a figure as a PNG file, at its own dots per inch or others."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def dress(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Style a pair of axes and set its title, at the left, and its labels."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x_label, fontsize=9, color=INK)
    axes.set_ylabel(y_label, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.grid(visible=True, color="#EBEBEB", linewidth=0.8)
    axes.set_axisbelow(True)


def dot_size(num_points: int) -> float:
    """Return the size of the dots on a curve, in points: 0 for a curve of many points, which is visible without."""
    return 4.0 if num_points <= FEW_POINTS else 0.0


def logarithmic(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Make one axis logarithmic with plain numbers as labels: at 1, 2 and 5 of each decade below two decades."""
    if which == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    few = math.log10(high / low) < 2
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
