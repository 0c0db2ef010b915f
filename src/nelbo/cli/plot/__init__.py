"""`nelbo plot`: the paper's figures for any run, one file per figure."""

import typer

from nelbo.cli.plot import (
    forward,
    interpolation,
    monte_carlo,
    neighbours,
    points,
    progressive,
    rate_distortion,
    samplers,
    schedules,
    shared,
)

app = typer.Typer(no_args_is_help=True, help="Draw the paper's figures for a run.")
app.command("schedules")(schedules.schedules)
app.command("forward")(forward.forward)
app.command("progressive")(progressive.progressive)
app.command("shared")(shared.shared)
app.command("interpolation")(interpolation.interpolation)
app.command("neighbours")(neighbours.neighbours)
app.command("rate-distortion")(rate_distortion.rate_distortion)
app.command("points")(points.points)
app.command("samplers")(samplers.samplers)
app.command("monte-carlo")(monte_carlo.monte_carlo)
