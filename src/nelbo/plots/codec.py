"""Files as they arrive: the error of the picture against the bytes at hand, beside ordinary image formats."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, INK, QUARTERS, dress, new_figure

Curve = Sequence[tuple[float, float]]  # bytes, RMSE


def codec_curves(previews: Curve, lossless: float, others: Mapping[str, Curve]) -> Figure:
    """Mean RMSE (0..255) against mean bytes of an image: previews of one file, and other formats at their qualities.

    `lossless` is where the file ends, with every pixel exact. Raises DataError for no previews.
    """
    if not previews:
        raise DataError("there is no preview to draw.")
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    ours = [*previews, (lossless, 0.0)]
    axes.plot(*zip(*ours, strict=True), color=BLUE, linewidth=1.6, marker="o", markersize=4, label="one nelbo file")
    for (name, curve), colour in zip(others.items(), QUARTERS[1:], strict=False):
        axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.2, marker="o", markersize=2.5, label=name)
    axes.axvline(lossless, color=INK, linewidth=0.9, linestyle=":")
    axes.annotate(" every pixel exact", (lossless, 0.97), xycoords=("data", "axes fraction"), fontsize=8, va="top")
    axes.set_xlim(0, 1.5 * lossless)
    dress(axes, "What the beginning of a file shows", "bytes an image, headers counted", "RMSE, 0..255")
    axes.legend(frameon=False, fontsize=8)
    return figure
