"""Estimates of log p(x) against the number of samples: what the ELBO is for."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, GREEN, ORANGE, dress, logarithmic, new_figure

LINES = {  # what it is called in the picture, colour, marker, line
    "plain": ("plain Monte Carlo, z from p(z)", ORANGE, "o", "-"),
    "importance": ("importance-weighted, z from the encoder's q(z|x)", BLUE, "s", "-"),
    "elbo": ("ELBO of the encoder's q(z|x)", GREEN, "^", "-"),
    "fitted_importance": ("importance-weighted, q fitted to the image", BLUE, "s", "--"),
    "fitted_elbo": ("ELBO of q fitted to the image", GREEN, "^", "--"),
}


def monte_carlo_curves(samples: Sequence[int], estimates: Mapping[str, Tensor]) -> Figure:
    """The mean over the images of estimates of log p(x), nats, against S; each (len(samples), images).

    At the left all of them; at the right those whose samples know the image, and how they close in. The names are those
    of `LINES`. Raises DataError for fewer than two values of S.
    """
    if len(samples) < 2:
        raise DataError("a curve needs at least two numbers of samples: give --samples 10 or more.")
    shown = {name: LINES[name] for name in LINES if name in estimates}
    figure = new_figure(10.0, 3.8)
    panels = figure.subplots(1, 2)
    knowing = {name: line for name, line in shown.items() if name != "plain"}
    for axes, lines, title in (
        (panels[0], shown, "log p(x) of an image"),
        (panels[1], knowing, "Those whose z knows the image"),
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
        dress(axes, title, "samples S", "nats, mean over the images")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
