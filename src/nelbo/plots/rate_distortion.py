"""Progressive coding: distortion against rate (Ho et al., fig. 5), beside ordinary image formats."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from matplotlib.figure import Figure

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, INK, QUARTERS, dress, new_figure

FEW = 12  # up to this many points get markers: a line through one point is invisible


class Point(Protocol):
    """A point of the curve: the bits/dim spent and the RMSE reached after `reverse_steps`."""

    @property
    def reverse_steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def rmse(self) -> float: ...


class CodecPoint(Protocol):
    """An image format at one quality."""

    @property
    def bits_per_dim(self) -> float: ...
    @property
    def rmse(self) -> float: ...


def rate_distortion_curve(
    points: Sequence[Point], total: float, codecs: Mapping[str, Sequence[CodecPoint]] | None = None
) -> Figure:
    """Draw distortion and rate against the reverse steps done, and distortion against rate.

    Args:
        total: the whole bound in bits/dim, marked as the rate of a lossless image.

    Raises:
        DataError: no points.
    """
    if not points:
        raise DataError("there is no point to draw; evaluate the bound at every t first.")
    steps, rates, errors = ([getattr(p, name) for p in points] for name in ("reverse_steps", "rate", "rmse"))
    figure = new_figure(11.0, 3.4)
    left, middle, right = figure.subplots(1, 3)
    few = len(points) <= FEW
    line: dict[str, Any] = {"color": BLUE, "linewidth": 1.6, "marker": "o" if few else "", "markersize": 4}
    left.plot(steps, errors, **line)
    dress(left, "Distortion", "reverse steps done", "RMSE, 0..255")
    middle.plot(steps, rates, **line)
    dress(middle, "Rate", "reverse steps done", "bits/dim so far")
    if few:
        left.set_xticks(steps)
        middle.set_xticks(steps)
    right.plot(rates, errors, label="this model", **line)
    for (name, curve), colour in zip((codecs or {}).items(), QUARTERS[1:], strict=False):
        x, y = [p.bits_per_dim for p in curve], [p.rmse for p in curve]
        right.plot(x, y, color=colour, linewidth=1.2, marker="o", markersize=2.5, label=name)
    right.axvline(total, color=INK, linewidth=0.9, linestyle=":")
    right.annotate(f" lossless: {total:.3f}", (total, 0.97), xycoords=("data", "axes fraction"), fontsize=8, va="top")
    right.set_xlim(0, max(total * 1.6, *rates))
    dress(right, "Distortion against rate", "bits/dim", "RMSE, 0..255")
    right.legend(frameon=False, fontsize=8)
    return figure
