"""`nelbo table2`: what should the network predict, and what should it be trained on?"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from torch import Tensor

from nelbo.cli.console import bars, err, out, write_csv
from nelbo.cli.train import parse_setting
from nelbo.files import write_json, write_text
from nelbo.plots import HeatTable, Picture, heat_tables, samples_by_cell, save
from nelbo.studies import Cell, CellRecord, GridListener, GridOptions, Table2, drawn_samples, run_table2
from nelbo.studies.table2.cells import LOSSES, OBJECTIVES, PREDICTIONS

MINUTES = 1.2
ROWS = list(PREDICTIONS.values())


def table2(
    folder: Annotated[Path, typer.Option("--out", help="The grid's folder. If it holds a grid, it goes on.")],
    data: Annotated[str, typer.Option(help="digits, fashion-mnist, or images of your own as for `nelbo train`.")],
    minutes: Annotated[
        float | None, typer.Option(help=f"Training time of each of the 24 cells; {MINUTES} without --steps.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each cell, instead of minutes.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn, in every cell.")] = 0,
    num_images: Annotated[int, typer.Option(help="Samples of each cell for its Frechet distance.")] = 1000,
    sampling_steps: Annotated[int, typer.Option(help="Ancestral steps of each sample.")] = 250,
    preset: Annotated[
        str | None, typer.Option(help="The recipe that lends network and training; the data's own if absent.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="A network for the Frechet distance, as for `nelbo frechet`; that of the data if absent."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of every cell, e.g. network.base=64."),
    ] = None,
) -> None:
    """Table 2 of the paper for your images: 24 small trainings, each with its bits/dim and Frechet distance.

    Rows are what the network predicts; columns are the loss and the variance of the reverse process. Ctrl-C leaves; the
    same command goes on, and each cell's folder serves `nelbo sample` and `nelbo evaluate`.
    """
    budget = MINUTES if minutes is None and steps is None else minutes
    overrides = dict(parse_setting(text) for text in set_ or [])
    looked = None if features is None else str(features)
    options = GridOptions(data, preset, budget, steps, seed, num_images, sampling_steps, looked, overrides)
    try:
        with bars() as bar:
            found = run_table2(folder, options, _listener(bar))
    except KeyboardInterrupt:
        err.print("stopped; the same command goes on with the cell that it was at")
        raise typer.Exit(130) from None
    _keep(found, folder)
    out.print(_printed(found))
    for record in found.records:
        if record.unstable is not None:
            out.print(f"{record.cell.name} is unstable: {record.unstable}", highlight=False, soft_wrap=True)
    out.print(_notes(found), highlight=False, soft_wrap=True)
    if found.stopped_by is not None:
        left = len(ROWS) * len(OBJECTIVES) - len(found.records)
        err.print(f"stopped by {found.stopped_by} with {left} cells to go; the same command goes on from there")


def _listener(bar: Callable[[str, int, int], None]) -> GridListener:
    """Bars for the grid and the cell at hand, and a line for each that is done."""

    def done(record: CellRecord) -> None:
        err.print(
            f"{record.cell.name}: {_words(record, ', Frechet ')}, {record.steps} steps", highlight=False, soft_wrap=True
        )

    return GridListener(
        on_begin=lambda against: err.print(against, highlight=False, soft_wrap=True),
        on_cell=lambda cell, count, total: bar("cells", count, total),
        on_record=done,
        on_stage=bar,
    )


def _keep(found: Table2, folder: Path) -> None:
    """table2.json, .csv, .md, .png, and samples.png."""
    write_json(folder / "table2.json", found.to_json())
    write_text(folder / "table2.md", _markdown(found, folder))
    if found.records:
        write_csv(folder / "table2.csv", [_row(record) for record in found.records])
        save(_heat(found), folder / "table2.png")
    samples = dict(drawn_samples(folder))
    if samples:
        places: list[list[Tensor | None]] = [[samples.get(cell) for cell in row] for row in _places()]
        save(samples_by_cell(ROWS, _columns("\n"), places, found.levels), folder / "samples.png")


def _places() -> list[list[Cell]]:
    return [[Cell(prediction, *objective) for objective in OBJECTIVES] for prediction in PREDICTIONS]


def _columns(between: str) -> list[str]:
    return [f"{LOSSES[loss]}{between}{variance}" for loss, variance in OBJECTIVES]


def _row(record: CellRecord) -> dict[str, Any]:
    """A line of the CSV."""
    plain = record.to_json()
    frechet = plain.pop("frechet") or {}
    return plain | {f"frechet_{key}": frechet.get(key) for key in ("distance", "low", "high")}


def _words(record: CellRecord | None, between: str) -> str:
    """A place of the table in words."""
    return "not yet" if record is None else f"{_bits(record)}{between}{_frechet(record)}"


def _bits(record: CellRecord) -> str:
    bits, error = record.bits_per_dim, record.standard_error
    if bits is None:
        return "unstable"
    words = f"{bits:.3f}" if bits < 100 else f"{bits:.1e}"
    if record.unstable is not None:
        return f"unstable ({words})"
    return words if error is None else f"{words} ± {error:.3f}"


def _frechet(record: CellRecord) -> str:
    return "–" if record.frechet is None else f"{record.frechet['distance']:.3g}"


def _printed(found: Table2) -> Table:
    """So narrow that nothing of it is cut off in 80 columns."""
    table = Table(title="bits/dim, and below it the Frechet distance", title_justify="left", show_lines=True, padding=0)
    table.add_column("predicts")
    for name in _columns("\n"):
        table.add_column(name.replace("-", "\n"), justify="right")
    for name, row in zip(ROWS, _places(), strict=True):
        words = [_words(found.by_cell.get(cell), "\n") for cell in row]
        table.add_row(name, *(word.replace(" ± ", "\n± ").replace(" (", "\n(") for word in words))
    return table


def _notes(found: Table2) -> str:
    """What the figures are."""
    options, uniform = found.options, math.log2(found.levels)
    recipe = options.recipe(_places()[0][0])
    chain = recipe.schedule
    budget = f"{options.steps} steps" if options.minutes is None else f"{options.minutes:g} minutes"
    return (
        f"Each cell: {budget} of training on {found.num_train} images, {chain.kind} schedule of {chain.num_steps} "
        f"steps, {recipe.timesteps} t, seed {options.seed}; the two columns of the simple loss train alike and differ "
        f"in how they are measured. Bits/dim: the bound on {found.num_held_out} held-out images, all {chain.num_steps} "
        "steps, without clipping, under the variance of the column; ± is its standard error. Frechet: "
        f"{options.num_images} samples of {min(options.sampling_steps, chain.num_steps)} ancestral steps under the "
        f"same variance, xhat_0 clipped to [-1, 1]; {found.frechet_against}. Unstable: training met a number that is "
        f"not finite, or the bound is above the {uniform:.2f} bits/dim of a uniform over {found.levels} levels."
    )


def _markdown(found: Table2, folder: Path) -> str:
    lines = [
        f"# Table 2 on {found.options.data}",
        "",
        f"    {found.options.command(folder)}",
        "",
        "Bits/dim / Frechet distance:",
        "",
        "| predicts | " + " | ".join(_columns(", ")) + " |",
        "|---|" + "---:|" * len(OBJECTIVES),
    ]
    for name, row in zip(ROWS, _places(), strict=True):
        lines.append(f"| {name} | " + " | ".join(_words(found.by_cell.get(cell), " / ") for cell in row) + " |")
    lines += ["", _notes(found)]
    unstable = [f"- {record.cell.name}: {record.unstable}" for record in found.records if record.unstable is not None]
    lines += ["", "Unstable:", "", *unstable] if unstable else []
    return "\n".join(lines) + "\n"


def _heat(found: Table2) -> Picture:
    """Both figures of every cell in colour; what is unstable stays grey among the bits."""
    records = [[found.by_cell.get(cell) for cell in row] for row in _places()]
    columns = _columns("\n")

    def table(title: str, value: Callable[[CellRecord], float | None], words: Callable[[CellRecord], str]) -> HeatTable:
        values = [[None if record is None else value(record) for record in row] for row in records]
        written = [["not yet" if record is None else words(record) for record in row] for row in records]
        return HeatTable(title, ROWS, columns, values, written)

    return heat_tables(
        [
            table(
                "Bits/dim of held-out images, ± standard error",
                lambda record: None if record.unstable else record.bits_per_dim,
                lambda record: _bits(record).replace(" (", "\n("),
            ),
            table(
                "Frechet distance of samples",
                lambda record: None if record.frechet is None else record.frechet["distance"],
                _frechet,
            ),
        ]
    )
