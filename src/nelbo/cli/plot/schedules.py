"""`nelbo plot schedules`: the noise schedules side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.plot.common import OutOption, figure_path, keep


def schedules(
    run: Annotated[
        str | None, typer.Argument(help="Run folder or bundled model whose schedule is added to the plot.")
    ] = None,
    picture: OutOption = Path("schedules.png"),
) -> None:
    """Plot the noise schedules: alphas_bar, log SNR, beta, and the coefficients of the posterior (eq. 7)."""
    path = figure_path(picture, run=run)
    import torch

    from nelbo.diffusion import NoiseSchedule
    from nelbo.plots import schedule_curves
    from nelbo.runs import DiffusionRun, load_as

    named = {
        "linear": NoiseSchedule.linear(),
        "cosine": NoiseSchedule.cosine(),
        "log-linear": NoiseSchedule.log_linear(),
    }
    if run is not None:
        own = load_as(DiffusionRun, run, device="cpu").schedule
        others = {name: s for name, s in named.items() if not torch.equal(s.alphas_bar, own.alphas_bar)}
        named = {run: own} | others | {run: own}  # the run is first, and wins where it has the name of a schedule
    keep(schedule_curves(named), path)
