"""Quality against network calls: one curve for each sampler."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nelbo.errors import DataError
from nelbo.plots.style import PALETTE, dress, logarithmic, new_figure

Point = tuple[int, float, float, float]  # network calls, the distance, and its interval


def curves_against_calls(curves: Mapping[str, Sequence[Point]], what: str = "Frechet distance") -> Figure:
    """Draw the distance of each sampler's images, with its interval, against network calls per image (log-log).

    Raises:
        DataError: no points.
    """
    if not any(curves.values()):
        raise DataError("there are no points to draw; measure at least one sampler.")
    figure = new_figure(7.2, 4.4)
    axes = figure.subplots()
    for (name, points), colour in zip(curves.items(), PALETTE * len(curves), strict=False):
        calls, distance, low, high = zip(*sorted(points), strict=True)
        below = [d - a for d, a in zip(distance, low, strict=True)]
        above = [b - d for d, b in zip(distance, high, strict=True)]
        axes.errorbar(
            calls, distance, yerr=[below, above], color=colour, marker="o", markersize=4, capsize=2, label=name
        )
    everywhere = [point[0] for points in curves.values() for point in points]
    logarithmic(axes, "x", min(everywhere), max(everywhere))
    values = [point[1] for points in curves.values() for point in points]
    logarithmic(axes, "y", min(values), max(values))
    dress(axes, f"{what} against network calls", "network calls per image", what)
    axes.legend(frameon=False, fontsize=8)
    return figure
