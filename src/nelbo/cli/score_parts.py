"""`nelbo score --out FOLDER`: the scores of many images, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nelbo.cli.console import name_rejects, out, show
from nelbo.cli.engine import Parts, kept_parts
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.display import counted
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.data import ImageDataset, Reject
    from nelbo.engines import ScoresReport
    from nelbo.evaluation.decision_options import DecisionOptions
    from nelbo.runs import Run

MOST_SHOWN = 10  # images in the table, and the last one


def scored_by_parts(
    run: Run,
    images: ImageDataset,
    names: Sequence[str],
    parts: Parts,
    options: DecisionOptions,
    device: str | None,
    bar: Bars,
) -> ScoresReport:
    """Compute the bound of every image part by part."""
    from nelbo.engines import ImageParts, measure, opened
    from nelbo.runs import BoundOptions

    how: dict[str, Any] = {"engine": parts.engine, "part_size": parts.part_size, "device": device}
    draws = BoundOptions(options.values_of_t, seed=options.seed, batch_size=options.batch_size)
    return measure(opened(run), ImageParts(images, names), parts.out, draws, **how, progress=bar.of("scoring"))


def show_parts(report: ScoresReport, model: str, rejects: list[Reject], json: Path | None) -> None:
    """Print and write the scores of many images: the highest ones, and where all are."""
    if prints_table(json):
        highest = [(each.image, each.bits_per_dim) for each in report.highest]
        lowest = (report.lowest.image, report.lowest.bits_per_dim)
        out.print(_table(highest[:MOST_SHOWN], lowest, report.num_images, report.total))
        show(kept_parts(report))
        name_rejects(rejects)
    values = {"model": str(model), **report.to_json(), "rejects": [vars(reject) for reject in rejects]}
    write_results(versioned(values), json)


def _table(highest: list[tuple[str, float]], lowest: tuple[str, float], num: int, mean: float) -> Table:
    """The first images of a ranking of `num`, and the last one."""
    table = Table(title=f"{counted(num, 'image')}, mean {mean:.3f} bits/dim", title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("bits/dim", justify="right")
    for name, value in highest:
        table.add_row(name, f"{value:.3f}")
    if num > len(highest):
        name, value = lowest
        table.add_row("...", "...")
        table.add_row(name, f"{value:.3f}")
    return table
