"""`nelbo plot schedules`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from nelbo.cli.plot.common import OutOption, keep
from nelbo.diffusion import NoiseSchedule
from nelbo.plots import schedule_curves
from nelbo.runs import DiffusionRun, load_as


def schedules(
    run: Annotated[str | None, typer.Argument(help="A run, whose schedule is drawn beside the others.")] = None,
    picture: OutOption = Path("schedules.png"),
) -> None:
    """The schedules side by side: alphas_bar, log SNR, beta, and the coefficients of the posterior (eq. 7)."""
    named = {
        "linear": NoiseSchedule.linear(),
        "cosine": NoiseSchedule.cosine(),
        "log-linear": NoiseSchedule.log_linear(),
    }
    if run is not None:
        own = load_as(DiffusionRun, run, device="cpu").schedule
        others = {name: s for name, s in named.items() if not torch.equal(s.alphas_bar, own.alphas_bar)}
        named = {run: own} | others | {run: own}  # first, and itself where it has the name of another
    keep(schedule_curves(named), picture)
