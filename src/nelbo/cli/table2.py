"""`nelbo table2`: Table 2 of the paper, the network's prediction against the loss, on the user's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars, say
from nelbo.cli.ending import Ended
from nelbo.cli.options import SetOption, flag_help, parse_settings
from nelbo.data.names import read_size
from nelbo.progress import Bars
from nelbo.studies.table2.cells import GridOptions

if TYPE_CHECKING:
    from nelbo.studies import CellRecord, GridListener

MINUTES = 1.2


def _help(name: str) -> str:
    return flag_help(GridOptions, name)


def table2(
    folder: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder to write. If it contains an unfinished table, the remaining cells are trained."
        ),
    ],
    data: Annotated[str, typer.Option(help="Images: digits, fashion-mnist, or your own images as for `nelbo train`.")],
    size: Annotated[str | None, typer.Option(metavar="SIDE", help=_help("size"))] = None,
    minutes: Annotated[float | None, typer.Option(help=f"{_help('minutes')} {MINUTES} by default.")] = None,
    steps: Annotated[int | None, typer.Option(help=_help("steps"))] = None,
    seed: Annotated[int, typer.Option(help=_help("seed"))] = 0,
    num_images: Annotated[int, typer.Option(help=_help("num_images"))] = 1000,
    sampling_steps: Annotated[int, typer.Option(help=_help("sampling_steps"))] = 250,
    preset: Annotated[str | None, typer.Option(help=_help("preset"))] = None,
    features: Annotated[Path | None, typer.Option(help=_help("features"))] = None,
    set_: SetOption = None,
) -> None:
    """Compute Table 2 of Ho et al. (2020) on your images: 24 training runs, with bits/dim and Frechet distance.

    Rows: what the network predicts. Columns: the loss and the variance of the reverse process. Press Ctrl-C to save and
    stop; run the same command again to resume. `nelbo sample` and `nelbo evaluate` accept the folder of each cell.
    The Frechet distance needs the extra metrics.
    """
    overrides = parse_settings(set_)
    budget = MINUTES if minutes is None and steps is None else minutes
    network = None if features is None else str(features)
    side = read_size(size)
    _run(folder, GridOptions(data, preset, budget, steps, seed, num_images, sampling_steps, network, overrides, side))


def _run(folder: Path, options: GridOptions) -> None:
    """Train and evaluate the cells, then print and write the table."""
    import nelbo.studies
    from nelbo.cli.table2_report import show_table, write_table

    try:
        with bars() as bar:
            found = nelbo.studies.run_table2(folder, options, _listener(bar))
    except (KeyboardInterrupt, Ended) as end:
        say("stopped; the same command resumes with the current cell")
        if isinstance(end, Ended):
            raise
        raise typer.Exit(130) from None
    show_table(found)
    write_table(found, folder)


def _listener(bar: Bars) -> GridListener:
    """Return callbacks that show a bar for the grid and one for the current cell, and a line for each finished cell."""
    from nelbo.cli.table2_report import cell_in_words
    from nelbo.studies import GridListener

    def finished(record: CellRecord) -> None:
        say(f"{record.cell.name}: {cell_in_words(record, ', Frechet ')}, {record.steps} steps")

    return GridListener(
        on_begin=say,
        on_cell=lambda cell, count, total: bar("cells", count, total),
        on_record=finished,
        on_stage=bar,
    )
