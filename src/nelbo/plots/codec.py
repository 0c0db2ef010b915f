"""Progressive files: the error of the preview against the bytes received, beside ordinary image formats."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, INK, QUARTERS, dress, new_figure

Curve = Sequence[tuple[float, float]]  # bytes, RMSE


def codec_curves(
    previews: Curve, lossless: float, others: Mapping[str, Curve], exact: Mapping[str, float] | None = None
) -> Figure:
    """Draw mean RMSE (0..255) against mean bytes per image: previews of one file, and other formats by quality.

    Args:
        previews: (bytes, RMSE) of a file's previews.
        lossless: bytes of the whole file, where every pixel is exact.
        others: (bytes, RMSE) of other formats.
        exact: bytes that other formats need for exact pixels.

    Raises:
        DataError: no previews.
    """
    if not previews:
        raise DataError("there is no preview to draw; decode a file at several lengths first.")
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    ours = [*previews, (lossless, 0.0)]
    axes.plot(*zip(*ours, strict=True), color=BLUE, linewidth=1.6, marker="o", markersize=4, label="one nelbo file")
    colours = dict(zip(others, QUARTERS[1:], strict=False))
    for name, curve in others.items():
        axes.plot(*zip(*curve, strict=True), color=colours[name], linewidth=1.2, marker="o", markersize=2.5, label=name)
    for name, size in (exact or {}).items():
        label = None if name in colours else f"{name}, exact"
        axes.plot(size, 0, color=colours.get(name, INK), marker="x", linestyle="", clip_on=False, label=label)
    axes.axvline(lossless, color=INK, linewidth=0.9, linestyle=":")
    axes.annotate(" every pixel exact", (lossless, 0.97), xycoords=("data", "axes fraction"), fontsize=8, va="top")
    axes.set_xlim(0, 1.65 * lossless)
    dress(
        axes, "Error of a preview from the first bytes of a file", "bytes per image, headers included", "RMSE, 0..255"
    )
    axes.legend(frameon=False, fontsize=8)
    return figure
