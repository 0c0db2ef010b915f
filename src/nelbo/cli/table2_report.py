"""Table 2 in every form: JSON, CSV, Markdown, pictures, and a table in the terminal."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor

import nelbo.studies
from nelbo.cli.console import out, say, show
from nelbo.cli.results import write_csv
from nelbo.files import write_json, write_text
from nelbo.plots import HeatTable, Picture, heat_tables, samples_by_cell, save
from nelbo.studies import Cell, CellRecord, Table2
from nelbo.studies.table2.cells import LOSSES, OBJECTIVES, PREDICTIONS

ROWS = list(PREDICTIONS.values())


def write_table(found: Table2, folder: Path) -> None:
    """Write table2.json, table2.csv, table2.md and table2.png, and samples.png."""
    write_json(folder / "table2.json", found.to_json())
    write_text(folder / "table2.md", _markdown(found, folder))
    if found.records:
        write_csv(folder / "table2.csv", [_csv_row(record) for record in found.records])
        save(_heat(found), folder / "table2.png")
    samples = dict(nelbo.studies.drawn_samples(folder))
    if samples:
        grid: list[list[Tensor | None]] = [[samples.get(cell) for cell in row] for row in _grid()]
        save(samples_by_cell(ROWS, _columns("\n"), grid, found.levels), folder / "samples.png")


def show_table(found: Table2) -> None:
    """Print the table, the unstable cells, and how everything was measured."""
    out.print(_table(found))
    for record in found.records:
        if record.unstable is not None:
            show(f"{record.cell.name} is unstable: {record.unstable}")
    show(_notes(found))
    if found.stopped_by is not None:
        left = len(ROWS) * len(OBJECTIVES) - len(found.records)
        say(f"stopped by {found.stopped_by} with {left} cells left; the same command resumes")


def cell_in_words(record: CellRecord | None, between: str) -> str:
    """Write bits/dim and Frechet distance of a cell, separated by `between`."""
    return "not yet" if record is None else f"{_bits(record)}{between}{_frechet(record)}"


def _grid() -> list[list[Cell]]:
    """The cells by row and column."""
    return [[Cell(prediction, *objective) for objective in OBJECTIVES] for prediction in PREDICTIONS]


def _columns(between: str) -> list[str]:
    """The titles of the columns: loss and variance, separated by `between`."""
    return [f"{LOSSES[loss]}{between}{variance}" for loss, variance in OBJECTIVES]


def _csv_row(record: CellRecord) -> dict[str, Any]:
    plain = record.to_json()
    frechet = plain.pop("frechet") or {}
    return plain | {f"frechet_{key}": frechet.get(key) for key in ("distance", "low", "high")}


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


def _table(found: Table2) -> Table:
    """The table for the terminal, narrow enough for 80 columns."""
    table = Table(title="bits/dim, and below it the Frechet distance", title_justify="left", show_lines=True, padding=0)
    table.add_column("prediction")
    for name in _columns("\n"):
        table.add_column(name.replace("-", "\n"), justify="right")
    for name, row in zip(ROWS, _grid(), strict=True):
        words = [cell_in_words(found.by_cell.get(cell), "\n") for cell in row]
        table.add_row(name, *(word.replace(" ± ", "\n± ").replace(" (", "\n(") for word in words))
    return table


def _notes(found: Table2) -> str:
    """Describe how the cells were trained and measured."""
    options, uniform = found.options, math.log2(found.levels)
    recipe = options.recipe(_grid()[0][0])
    schedule = recipe.schedule
    budget = f"{options.steps} steps" if options.minutes is None else f"{options.minutes:g} minutes"
    return (
        f"Each cell: {budget} of training on {found.num_train} images, {schedule.kind} schedule of "
        f"{schedule.num_steps} steps, {recipe.timesteps} t, seed {options.seed}. The two columns of the simple loss "
        "are trained identically and differ in the variance they are measured with. Bits/dim: the bound on "
        f"{found.num_held_out} held-out images, all {schedule.num_steps} steps, without clipping, with the variance of "
        f"the column; ± is its standard error. Frechet: {options.num_images} samples of "
        f"{min(options.sampling_steps, schedule.num_steps)} ancestral steps with the same variance, xhat_0 clipped to "
        f"[-1, 1]; {found.frechet_against}. Unstable: training produced a number that is not finite, or the bound is "
        f"above {uniform:.2f} bits/dim, that of a uniform distribution over {found.levels} levels."
    )


def _markdown(found: Table2, folder: Path) -> str:
    lines = [
        f"# Table 2 on {found.options.data}",
        "",
        f"    {found.options.command(folder)}",
        "",
        "Bits/dim / Frechet distance:",
        "",
        "| prediction | " + " | ".join(_columns(", ")) + " |",
        "|---|" + "---:|" * len(OBJECTIVES),
    ]
    for name, row in zip(ROWS, _grid(), strict=True):
        lines.append(f"| {name} | " + " | ".join(cell_in_words(found.by_cell.get(cell), " / ") for cell in row) + " |")
    lines += ["", _notes(found)]
    unstable = [f"- {record.cell.name}: {record.unstable}" for record in found.records if record.unstable is not None]
    lines += ["", "Unstable:", "", *unstable] if unstable else []
    return "\n".join(lines) + "\n"


def _heat(found: Table2) -> Picture:
    """Draw both numbers of every cell as colours; the bits of an unstable cell stay grey."""
    records = [[found.by_cell.get(cell) for cell in row] for row in _grid()]
    columns = _columns("\n")

    def table(title: str, value: Callable[[CellRecord], float | None], words: Callable[[CellRecord], str]) -> HeatTable:
        values = [[None if record is None else value(record) for record in row] for row in records]
        texts = [["not yet" if record is None else words(record) for record in row] for row in records]
        return HeatTable(title, ROWS, columns, values, texts)

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
