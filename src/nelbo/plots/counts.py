"""Observed counts beside the distributions that were fitted to them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.style import BLUE, ORANGE, dress, new_figure


class Fit(Protocol):
    """A named distribution over 0..K-1."""

    @property
    def name(self) -> str: ...
    @property
    def probabilities(self) -> Tensor: ...


def count_bars(observed: Tensor, fits: Sequence[Fit], divergences: Sequence[float]) -> Figure:
    """Draw a panel for each fit: observed shares (K,) and fitted masses as bars, KL(observed || fit) in the title."""
    columns = min(2, len(fits))
    lines = -(-len(fits) // columns)
    figure = new_figure(4.2 * columns, 2.6 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    values = np.arange(len(observed))
    for axes, fit, nats in zip(panels, fits, divergences, strict=False):
        axes.bar(values - 0.2, observed.numpy(), 0.4, color=BLUE, label="observed")
        axes.bar(values + 0.2, fit.probabilities.numpy(), 0.4, color=ORANGE, label=fit.name)
        dress(axes, f"KL(observed || {fit.name}) = {nats:.4f} nats", "value", "probability")
        axes.legend(frameon=False, fontsize=8)
    for axes in panels[len(fits) :]:
        axes.set_visible(False)
    return figure
