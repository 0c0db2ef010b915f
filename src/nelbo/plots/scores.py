"""The scores of a collection of images as a histogram."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, INK, ORANGE, dress, new_figure


def score_histogram(scores: Sequence[float]) -> Figure:
    """Draw a histogram of bits/dim, one score per image, with the median and a tick for each of the highest 1%.

    Raises:
        DataError: no score, or one that is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(
            f"{values.size} scores, {bad} of them not finite; a histogram needs one finite number per image."
        )
    figure = new_figure(5.2, 3.2)
    axes = figure.subplots()
    axes.hist(
        values, bins=int(np.clip(np.sqrt(values.size) * 1.5, 5, 60)), color=BLUE, edgecolor="white", linewidth=0.4
    )
    median = float(np.median(values))
    axes.axvline(median, color=ORANGE, linewidth=1.4)
    axes.annotate(
        f"median {median:.2f}",
        (median, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -2),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=INK,
    )
    highest = values[values > np.quantile(values, 0.99)]
    axes.plot(
        highest,
        np.full(highest.size, 0.025),
        "|",
        color=INK,
        markersize=7,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    images = "1 image" if values.size == 1 else f"{values.size:,} images"
    dress(axes, f"Bits/dim of {images}", "bits/dim (higher is more surprising)", "images")
    return figure
