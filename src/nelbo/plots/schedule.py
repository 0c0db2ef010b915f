"""Noise schedules as curves: signal, SNR, beta, and the coefficients of the posterior mean."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, GREEN, ORANGE, PINK, dress, new_figure


class Schedule(Protocol):
    """Tables over t = 0..T."""

    @property
    def num_steps(self) -> int: ...
    @property
    def alphas_bar(self) -> Tensor: ...
    @property
    def betas(self) -> Tensor: ...
    @property
    def log_snr(self) -> Tensor: ...
    @property
    def posterior_x_0(self) -> Tensor: ...
    @property
    def posterior_x_t(self) -> Tensor: ...


def schedule_curves(schedules: Mapping[str, Schedule]) -> Figure:
    """Draw four panels against t / T: alphas_bar, log SNR, beta, and the two coefficients of mutilde_t (eq. 7).

    Each schedule has a colour. The coefficient of x_0 is a solid line, that of x_t a dashed one.

    Raises:
        DataError: no schedule.
    """
    if not schedules:
        raise DataError("there is no schedule to draw; give at least one.")
    figure = new_figure(9.0, 6.0)
    panels = figure.subplots(2, 2).flatten()
    colours = (BLUE, ORANGE, GREEN, PINK)
    for (name, schedule), colour in zip(schedules.items(), colours, strict=False):
        place = np.arange(1, schedule.num_steps + 1) / schedule.num_steps
        tables = (schedule.alphas_bar, schedule.log_snr, schedule.betas, schedule.posterior_x_0)
        for axes, table in zip(panels, tables, strict=True):
            axes.plot(place, table[1:].cpu().numpy(), color=colour, linewidth=1.5, label=name)
        panels[3].plot(place, schedule.posterior_x_t[1:].cpu().numpy(), color=colour, linewidth=1.2, linestyle="--")
    panels[2].set_yscale("log")
    titles = (
        r"$\bar\alpha_t$: the data's share of the variance",
        "log SNR, nats",
        r"$\beta_t$",
        "weight of $x_0$ (solid) and $x_t$ (dashed)",
    )
    for axes, title in zip(panels, titles, strict=True):
        dress(axes, title, "t / T", "")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
