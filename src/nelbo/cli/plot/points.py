"""`nelbo plot points`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import bars, emit_json, out
from nelbo.cli.options import DeviceOption
from nelbo.cli.plot.common import AnimateOption, SeedOption, default_path, keep
from nelbo.plots import chain_of_points, evenly, moving_points
from nelbo.runs import DiffusionRun, load_as
from nelbo.studies import Gap, Listener, PointsReport, report_points


def points(
    run: Annotated[str, typer.Argument(help="The folder of a run on a toy set, such as toy:moons.")],
    picture: Annotated[Path | None, typer.Option("--out", help="The picture; points.png if absent.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Samples.")] = 5000,
    columns: Annotated[
        int | None, typer.Option(min=2, help="Values of t, evenly spread over the walk: 6, or 30 where it moves.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Reverse steps, 1..T; 250 if absent, or T where that is less.")
    ] = None,
    animate: AnimateOption = False,
    json: Annotated[
        Path | None, typer.Option(help="Write what is known as JSON to this file (- for standard output).")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """A model of points: the cloud on its way forth and back, the score it has learned, and how far off it is.

    For eight-gaussians the exact score is drawn beside it. Where the density is known (eight-gaussians, checkerboard)
    KL(data || model) is held between two figures: bins of samples from below, the bound from above.
    """
    path = default_path(picture, "points", animate)
    model = load_as(DiffusionRun, run, device=device)
    steps = min(250, model.schedule.num_steps) if steps is None else steps
    moments = evenly(steps + 1, columns or (30 if animate else 6))
    with bars() as bar:
        report = report_points(model, num=num, moments=moments, steps=steps, seed=seed, listener=Listener(on_stage=bar))
    clouds = (report.times, report.forward, report.reverse)
    figure = moving_points(*clouds) if animate else chain_of_points(*clouds, report.fields)
    keep(figure, path)
    if json is not None:
        emit_json(_plain(report), json)
    if str(json) != "-":
        show_scores(report)
        show_gap(report.gap, model.config.data.spec)


def show_scores(report: PointsReport) -> None:
    """How far the learned score is from the exact one, at each t."""
    known = [field for field in report.fields if field is not None and field.error is not None]
    if not known:
        return
    table = Table(title="learned score against exact", title_justify="left")
    table.add_column("t", justify="right")
    table.add_column("E|difference|^2 / E|exact|^2", justify="right")
    for field in known:
        table.add_row(f"{field.t}", f"{field.error:.5f}")
    out.print(table)


def show_gap(gap: Gap | None, data: str) -> None:
    """KL(data || model) from below and from above."""
    if gap is None:
        out.print(f"the density of {data} is not known in closed form, so there is no KL to report", highlight=False)
        return
    seen = gap.samples
    out.print(
        f"KL(data || model), nats a point: at least {seen.nats:.4f} +- {seen.spread:.4f}, "
        f"at most {gap.at_most:.4f} +- {gap.bound_error:.4f}\n"
        f"at least: {seen.num_samples:,} samples in {seen.num_bins:,} bins, {seen.raw:.4f} less the {seen.floor:.4f} "
        "that as many draws of the data itself show; bins hide what is finer\n"
        f"at most: the bound of {gap.bound:.4f} on held-out points less the data's own entropy of {gap.entropy:.4f}",
        highlight=False,
        soft_wrap=True,
    )


def _plain(report: PointsReport) -> dict[str, Any]:
    gap = report.gap
    return {
        "score_error": {str(field.t): field.error for field in report.fields if field is not None},
        "gap": gap
        and {**vars(gap), "samples": vars(gap.samples), "at_least": gap.samples.nats, "at_most": gap.at_most},
        "unit": "nats a point",
        "version": nelbo.__version__,
    }
