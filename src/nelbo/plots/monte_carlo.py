"""Estimates of log p(x) against the number of samples."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import DataError, option
from nelbo.plots.style import BLUE, GREEN, ORANGE, dress, logarithmic, new_figure

LINES = {  # label, colour, marker, line style
    "plain": ("plain Monte Carlo, z from p(z)", ORANGE, "o", "-"),
    "importance": ("importance-weighted, z from the encoder's q(z|x)", BLUE, "s", "-"),
    "elbo": ("ELBO of the encoder's q(z|x)", GREEN, "^", "-"),
    "fitted_importance": ("importance-weighted, q fitted to the image", BLUE, "s", "--"),
    "fitted_elbo": ("ELBO of q fitted to the image", GREEN, "^", "--"),
}


def monte_carlo_curves(samples: Sequence[int], estimates: Mapping[str, Tensor]) -> Figure:
    """Draw the mean over the images of estimates of log p(x), in nats, against S.

    The left panel shows all estimates, the right one those whose z is drawn given the image.

    Args:
        samples: the values of S.
        estimates: (len(samples), images) each, by the names of `LINES`.

    Raises:
        DataError: fewer than two values of S.
    """
    if len(samples) < 2:
        raise DataError(f"a curve needs at least two values of S; set {option('samples')} to 10 or more.")
    shown = {name: LINES[name] for name in LINES if name in estimates}
    figure = new_figure(10.0, 3.8)
    panels = figure.subplots(1, 2)
    conditional = {name: line for name, line in shown.items() if name != "plain"}
    for axes, lines, title in (
        (panels[0], shown, "log p(x) of an image"),
        (panels[1], conditional, "Estimates with z drawn given the image"),
    ):
        for name, (label, colour, marker, style) in lines.items():
            axes.plot(
                samples,
                estimates[name].mean(1).numpy(),
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.5,
                linestyle=style,
                label=label,
            )
        logarithmic(axes, "x", samples[0], samples[-1])
        dress(axes, title, "samples S", "nats, mean over images")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
