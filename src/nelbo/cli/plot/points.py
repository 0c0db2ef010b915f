"""`nelbo plot points`: a model of points in the plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nelbo.cli.console import bars, out, show
from nelbo.cli.options import DeviceOption, JsonOption, SeedOption
from nelbo.cli.plot.common import AnimateOption, figure_path, keep
from nelbo.cli.results import prints_table, versioned, write_results

if TYPE_CHECKING:
    from nelbo.studies import Gap, PointsReport

STEPS = 250


def points(
    run: Annotated[str, typer.Argument(help="Run folder of a model trained on a toy data set, such as toy:moons.")],
    picture: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Output file (.png, .pdf or .svg); by default points.png, or points.gif with --animate."
        ),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 5000,
    columns: Annotated[
        int | None,
        typer.Option(min=2, help="Number of time steps shown, evenly spaced; 6 by default, 30 for an animation."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Number of steps of Algorithm 2, from 1 to T, the number of diffusion steps of the model; by default "
            f"{STEPS}, but at most T."
        ),
    ] = None,
    animate: AnimateOption = False,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Plot a model of 2-D points: the forward process, the reverse process and the learned score function.

    For eight-gaussians, the exact score is plotted too, and the error of the learned one is printed. If the density is
    known (eight-gaussians, checkerboard), bounds on KL(data || model) are printed: a lower bound from histograms, and
    an upper bound from the variational bound.
    """
    path = figure_path(picture, "points", animate=animate, json=json, run=run)
    from nelbo.plots import chain_of_points, evenly, moving_points
    from nelbo.runs import DiffusionRun, load_as
    from nelbo.studies import Listener, report_points

    model = load_as(DiffusionRun, run, device=device)
    steps = min(STEPS, model.schedule.num_steps) if steps is None else steps
    moments = evenly(steps + 1, columns or (30 if animate else 6))
    with bars() as bar:
        report = report_points(model, num=num, moments=moments, steps=steps, seed=seed, listener=Listener(on_stage=bar))
    clouds = (report.times, report.forward, report.reverse)
    if prints_table(json):
        _show_scores(report)
        _show_gap(report.gap, model.config.data.spec)
    figure = moving_points(*clouds) if animate else chain_of_points(*clouds, report.fields)
    write_results(versioned(_plain(report)), json, figure=lambda: keep(figure, path))


def _plain(report: PointsReport) -> dict[str, Any]:
    """The errors of the score and the KL as plain values."""
    gap = report.gap
    plain_gap = None
    if gap is not None:
        plain_gap = {**vars(gap), "samples": vars(gap.samples), "at_least": gap.samples.nats, "at_most": gap.at_most}
    return {
        "score_error": {str(field.t): field.error for field in report.fields if field is not None},
        "gap": plain_gap,
        "unit": "nats a point",
    }


def _show_scores(report: PointsReport) -> None:
    """Print the error of the learned score at each t, if the exact score is known."""
    known = [field for field in report.fields if field is not None and field.error is not None]
    if not known:
        return
    table = Table(title="learned score against exact score", title_justify="left")
    table.add_column("t", justify="right")
    table.add_column("E|difference|^2 / E|exact|^2", justify="right")
    for field in known:
        table.add_row(f"{field.t}", f"{field.error:.5f}")
    out.print(table)


def _show_gap(gap: Gap | None, data: str) -> None:
    """Print the lower and the upper bound on KL(data || model)."""
    if gap is None:
        show(f"the density of {data} is not known in closed form, so KL(data || model) is not reported")
        return
    found = gap.samples
    show(
        f"KL(data || model), nats per point: at least {found.nats:.4f} +- {found.spread:.4f}, "
        f"at most {gap.at_most:.4f} +- {gap.bound_error:.4f}\n"
        f"lower bound: {found.num_samples:,} samples in {found.num_bins:,} bins give {found.raw:.4f}, minus "
        f"{found.floor:.4f} for the same number of draws of the data; differences within a bin are not seen\n"
        f"upper bound: the variational bound of {gap.bound:.4f} on held-out points minus the entropy of the data, "
        f"{gap.entropy:.4f}"
    )
