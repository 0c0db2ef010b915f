"""Estimates of log p(x) against the number of samples: what the ELBO is for."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, GREEN, ORANGE, dress, logarithmic, new_figure


def monte_carlo_curves(samples: Sequence[int], plain: Tensor, importance: Tensor, elbo: Tensor) -> Figure:
    """The mean over the images of three estimates of log p(x), nats, against S; each (len(samples), images).

    At the left all of them; at the right those whose samples know the image, and how they close in. Raises DataError
    for fewer than two values of S.
    """
    if len(samples) < 2:
        raise DataError("a curve needs at least two numbers of samples: give --samples 10 or more.")
    curves = (
        ("plain Monte Carlo, z from p(z)", plain, ORANGE, "o"),
        ("importance-weighted, z from q(z|x)", importance, BLUE, "s"),
        ("ELBO, z from q(z|x)", elbo, GREEN, "^"),
    )
    figure = new_figure(10.0, 3.8)
    panels = figure.subplots(1, 2)
    for axes, shown, title in (
        (panels[0], curves, "log p(x) of an image, three estimates"),
        (panels[1], curves[1:], "The two that draw z from q(z|x)"),
    ):
        for name, values, colour, marker in shown:
            axes.plot(
                samples, values.mean(1).numpy(), color=colour, marker=marker, markersize=4, linewidth=1.5, label=name
            )
        logarithmic(axes, "x", samples[0], samples[-1])
        dress(axes, title, "samples S", "nats, mean over the images")
        axes.legend(frameon=False, fontsize=8)
    return figure
