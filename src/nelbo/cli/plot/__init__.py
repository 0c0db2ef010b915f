"""`nelbo plot`: the paper's figures for any run, one file per figure."""

from collections.abc import Callable
from typing import Any

import typer

from nelbo.cli.groups import build_group, help_text

HELP = "Plot figures for a run. Equation and figure numbers are those of Ho et al. (2020)."
# The module and the function of each figure, in the order of the help.
FIGURES = {
    "schedules": ("nelbo.cli.plot.schedules", "schedules"),
    "forward": ("nelbo.cli.plot.forward", "forward"),
    "progressive": ("nelbo.cli.plot.progressive", "progressive"),
    "shared": ("nelbo.cli.plot.shared", "shared"),
    "interpolation": ("nelbo.cli.plot.interpolation", "interpolation"),
    "neighbours": ("nelbo.cli.plot.neighbours", "neighbours"),
    "rate-distortion": ("nelbo.cli.plot.rate_distortion", "rate_distortion"),
    "points": ("nelbo.cli.plot.points", "points"),
    "samplers": ("nelbo.cli.plot.samplers", "samplers"),
    "monte-carlo": ("nelbo.cli.plot.monte_carlo", "monte_carlo"),
}


def plot(only: str = "") -> typer.Typer:
    """Build the commands, or only the one of this name; see `build_group`."""

    def add(group: typer.Typer, name: str, command: Callable[..., Any]) -> None:
        group.command(name, help=help_text(command))(command)

    return build_group(FIGURES, only, add, help=HELP)


def __getattr__(name: str) -> typer.Typer:
    """Build `app`, the group with all figures, for documentation and tests."""
    if name == "app":
        return plot()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
