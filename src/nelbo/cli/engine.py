"""The options of commands that work on many images part by part: the engine, and the folder of the parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.options import flag_help
from nelbo.engines.options import PART_SIZE, PROCESS, EngineOptions
from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from nelbo.engines import ScoresReport

EngineOption = Annotated[str | None, typer.Option(help=flag_help(EngineOptions, "engine"))]
WorkersOption = Annotated[int | None, typer.Option(min=1, help=flag_help(EngineOptions, "workers"))]
AddressOption = Annotated[str | None, typer.Option(help=flag_help(EngineOptions, "address"))]
GpusOption = Annotated[float | None, typer.Option(min=0, help=flag_help(EngineOptions, "gpus"))]
PartsOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the score of every image, as Parquet files. Images are then scored part by part: only one "
        "part is in memory, and if the command was interrupted, run it again: complete parts are kept.",
    ),
]
PartSizeOption = Annotated[
    int | None,
    typer.Option(min=1, help=f"With --out: number of images in a part, a multiple of the batch size; {PART_SIZE}."),
]


@dataclass(frozen=True)
class Parts:
    """Where the parts of a work go, and the engine that computes them."""

    out: Path
    engine: EngineOptions
    part_size: int


def parts_given(
    out: Path | None,
    engine: str | None,
    workers: int | None,
    address: str | None,
    gpus: float | None,
    part_size: int | None,
) -> Parts | None:
    """Return the parts that the options ask for; None to work on all images at once.

    Raises:
        ConfigurationError: an option of the parts without --out, or one that the engine does not have.
    """
    if out is None:
        given = {"--engine": engine, "--workers": workers, "--address": address, "--gpus": gpus}
        named = [flag for flag, value in {**given, "--part-size": part_size}.items() if value is not None]
        if named:
            raise ConfigurationError(f"{named[0]} works part by part into a folder; give --out FOLDER too.")
        return None
    options = EngineOptions(PROCESS if engine is None else engine, workers, address, gpus)
    return Parts(out, options, PART_SIZE if part_size is None else part_size)


def kept_parts(report: ScoresReport) -> str:
    """Return in words where the scores are, and how many parts were there already."""
    there = report.folder.num_parts - report.computed
    kept = f"; {there} of them were there" if there else ""
    return f"{report.folder.path}: {report.folder.num_parts} Parquet files{kept}"
