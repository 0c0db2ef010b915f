"""`nelbo data`: what a data set contains, before a model is trained on it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from nelbo.cli.console import bars, out
from nelbo.cli.options import JsonOption, MaskOption
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, write_results
from nelbo.data.names import AUTO, read_range
from nelbo.options import help_of
from nelbo.studies.data_request import DataRequest

POLICY = (
    "Supported formats: PNG, JPEG, WebP, BMP and TIFF (detected by content); each page of a TIFF file is an image. "
    "EXIF rotation is applied. Pixels of more than 8 bits are mapped to 8 bits (see --range); signed, 32-bit and "
    "floating-point pixels need --range LOW,HIGH. Transparent images are composited on white. A data set is RGB if "
    "any image has colour, otherwise L (grey). Arrays (.npy, .npz, Zarr) are uint8, or have values within 0..255 or "
    "0..1; others need --range. Training needs images of the same size, at most 256 pixels per side. Otherwise use "
    "`nelbo train --size N`, which resizes the shorter side to N and crops the centre. By default, files that cannot "
    "be decoded are skipped and listed."
)
MOST_SHOWN = 12  # entries of a list or dictionary
UNDETERMINED = {"shape": "several sizes; training needs --size"}  # other rows without a value are left out


def data(
    spec: Annotated[
        str,
        typer.Argument(
            help="Folder of images, .npy, .npz or Zarr array, folder of IDX files (MNIST format), WebDataset shards, "
            "Parquet files, a data set of Hugging Face (hf:OWNER/NAME), a stream of these, or the name of a built-in "
            "data set."
        ),
    ],
    json: JsonOption = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that decode images; by default one per available CPU core.")
    ] = None,
    range: Annotated[str, typer.Option(help=help_of(DataRequest, "range"))] = AUTO,
    quantum: Annotated[float | None, typer.Option(help=help_of(DataRequest, "quantum"))] = None,
    mask: MaskOption = None,
) -> None:
    """Describe a data set: counts, sizes, colour modes and classes, and the files that cannot be used, with reasons."""
    check_outputs({"--json": json}, [spec])
    from nelbo.data import describe

    with bars() as bar:
        options: dict[str, Any] = {"range": read_range(range), "quantum": quantum, "mask": mask}
        values = describe(spec, workers=workers, progress=bar.of("reading images"), **options).to_json()
    if prints_table(json):
        table = Table(title=spec, title_justify="left", show_header=False)
        table.add_column("property")
        table.add_column("value", overflow="fold")
        for name, value in values.items():
            if value is not None or name in UNDETERMINED:
                table.add_row(name.replace("_", " "), UNDETERMINED[name] if value is None else in_words(value))
        out.print(table)
    write_results(values, json)


def in_words(value: object) -> str:
    """Write a value of the report in a few words; long lists and dictionaries are cut short."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in list(value.items())[:MOST_SHOWN]) or "none"
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return " x ".join(map(str, value)) or "none"
    if isinstance(value, list):
        rows = [": ".join(map(str, each.values())) if isinstance(each, dict) else str(each) for each in value]
        more = [f"... and {len(rows) - MOST_SHOWN} more"] if len(rows) > MOST_SHOWN else []
        return "\n".join(rows[:MOST_SHOWN] + more) or "none"
    return str(value)
