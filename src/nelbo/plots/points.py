"""Points of the plane, where images would be a grid."""

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.style import BLUE, dress, new_figure


def point_cloud(points: Tensor) -> Figure:
    """A scatter of N points (N, 2), the axes to one scale.

    Raises ShapeError for points of another dimension.
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ShapeError(f"points of shape {tuple(points.shape)} cannot be drawn in a plane: give (N, 2), N >= 1.")
    figure = new_figure(4.0, 4.0)
    axes = figure.subplots()
    x, y = points.T.tolist()
    axes.plot(x, y, ".", color=BLUE, markersize=3, alpha=0.6, markeredgewidth=0)
    axes.set_aspect("equal")
    dress(axes, f"{len(points):,} samples", "first coordinate", "second coordinate")
    return figure
