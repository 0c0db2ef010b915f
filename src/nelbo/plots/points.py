"""Two-dimensional data: clouds of points along the chain, and score fields as arrows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.animation import Animation, animate
from nelbo.plots.style import BLUE, INK, ORANGE, dress, new_figure
from nelbo.plots.table import bare

LONGEST = 1.6  # length of the longest arrow, in cells of its grid
TILE = 1.7  # inches


class Field(Protocol):
    """Scores (M, 2) at places (M, 2): the learned ones, and the exact ones or None."""

    @property
    def places(self) -> Tensor: ...
    @property
    def learned(self) -> Tensor: ...
    @property
    def exact(self) -> Tensor | None: ...


def point_cloud(points: Tensor) -> Figure:
    """Draw a scatter plot of N points (N, 2) with equal axis scales.

    Raises:
        ShapeError: points of another dimension.
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ShapeError(f"points of shape {tuple(points.shape)} cannot be drawn in a plane; give (N, 2), N >= 1.")
    figure = new_figure(4.0, 4.0)
    axes = figure.subplots()
    _scatter(axes, points, BLUE)
    axes.set_aspect("equal")
    dress(axes, f"{len(points):,} samples", "first coordinate", "second coordinate")
    return figure


def chain_of_points(
    times: Sequence[int], forward: Sequence[Tensor], reverse: Sequence[Tensor], fields: Sequence[Field | None]
) -> Figure:
    """Draw a column for each t: the cloud of q, that of p_theta, the learned score and, where known, the exact one.

    Clouds are (N, 2). All rows of a column share the scale of q's cloud, and the longest arrow has the same length in
    every column.

    Raises:
        ShapeError: no column.
    """
    if not times:
        raise ShapeError("a chain of points needs at least one t.")
    known = any(field is not None and field.exact is not None for field in fields)
    names = ["$q(x_t)$", r"$p_\theta(x_t)$", "learned\nscore", *(["exact\nscore"] if known else [])]
    figure = new_figure(TILE * len(times) + 0.6, TILE * len(names) + 0.3)
    grid = figure.subplots(len(names), len(times), squeeze=False)
    for column, (t, of_q, of_p, field) in enumerate(zip(times, forward, reverse, fields, strict=True)):
        panels = grid[:, column]
        for axes in panels:
            _frame(axes, reach(of_q))
        panels[0].set_title(f"t = {t}", fontsize=9, color=INK)
        _scatter(panels[0], of_q, BLUE)
        _scatter(panels[1], of_p, ORANGE)
        arrows = [] if field is None else [field.learned] if field.exact is None else [field.learned, field.exact]
        for axes in panels[2 + len(arrows) :]:
            axes.set_axis_off()
        if field is not None:
            longest = max(float(values.norm(dim=1).max()) for values in arrows)
            for axes, values, colour in zip(panels[2:], arrows, (ORANGE, BLUE), strict=False):
                _arrows(axes, field.places, values, longest, colour)
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center", color=INK)
    return figure


def moving_points(times: Sequence[int], forward: Sequence[Tensor], reverse: Sequence[Tensor]) -> Animation:
    """Animate the cloud of q from t = 0 to T, then that of p_theta back; clouds (N, 2), `times` falling to 0."""
    scene = [(f"forward: t = {t}", cloud, cloud, BLUE) for t, cloud in zip(times, forward, strict=True)][::-1]
    scene += [
        (f"reverse: t = {t}", cloud, of_q, ORANGE) for t, cloud, of_q in zip(times, reverse, forward, strict=True)
    ]
    return animate(_still(*frame) for frame in scene)


def reach(cloud: Tensor) -> float:
    """Return half the side of the square around the origin that holds 99% of each coordinate, plus a margin."""
    return 1.15 * float(cloud.abs().quantile(0.99))


def _still(title: str, cloud: Tensor, scale: Tensor, colour: str) -> Figure:
    figure = new_figure(3.0, 3.2)
    axes = figure.subplots()
    _frame(axes, reach(scale))
    axes.set_title(title, fontsize=9, color=INK)
    _scatter(axes, cloud, colour)
    return figure


def _frame(axes: Axes, half: float) -> None:
    bare(axes)
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_aspect("equal")


def _scatter(axes: Axes, points: Tensor, colour: str) -> None:
    x, y = points.cpu().T.numpy()
    axes.plot(x, y, ".", color=colour, markersize=3, alpha=0.6, markeredgewidth=0)


def _arrows(axes: Axes, places: Tensor, values: Tensor, longest: float, colour: str) -> None:
    (x, y), (u, v) = places.cpu().T.numpy(), values.cpu().T.numpy()
    cell = max(float(after - before) for before, after in pairwise(sorted(set(x.tolist()))))
    axes.quiver(x, y, u, v, color=colour, angles="xy", scale_units="xy", scale=longest / (LONGEST * cell), width=0.006)
