"""`nelbo data`: what is there, before anything is trained on it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from nelbo.cli.console import bars, emit_json, out
from nelbo.data import describe

POLICY = (
    "How images are read: PNG, JPEG, WebP, BMP and TIFF, known by their content, turned as EXIF says. 16-bit grey is "
    "scaled to 8 bits; 32-bit and floating-point pixels are refused. What is transparent lies on white. A set is RGB "
    "if any image has colour, else L (grey). Arrays hold uint8 levels. To be trained on, images must share one size of "
    "at most 256 a side, or be given --size N: the shorter side is resized to N, then the centre cut out. Files that "
    "cannot be decoded are left out and named."
)


def data(
    spec: Annotated[
        str, typer.Argument(help="A folder of images, .npy, .npz, IDX, shards, or the name of a data set.")
    ],
    json: Annotated[
        Path | None, typer.Option(help="Write the report as JSON to this file (- for standard output).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that decode; one a usable processor if absent.")
    ] = None,
) -> None:
    """Show what a data set holds: counts, sizes, modes, classes, and the files that can't be used, with reasons."""
    with bars() as bar:
        report = describe(spec, workers=workers, progress=lambda done, total: bar("reading images", done, total))
    plain = report.to_json()
    emit_json(plain, json)
    if str(json) == "-":
        return
    table = Table(title=spec, title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("found", overflow="fold")
    for name, value in plain.items():
        table.add_row(name.replace("_", " "), shown(value))
    out.print(table)


def shown(value: object) -> str:
    """A report's value as a few words."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in list(value.items())[:12]) or "none"
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return " x ".join(map(str, value)) or "none"
    if isinstance(value, list):
        rows = [": ".join(map(str, item.values())) if isinstance(item, dict) else str(item) for item in value[:12]]
        more = [f"... and {len(value) - 12} more"] if len(value) > 12 else []
        return "\n".join(rows + more) or "none"
    return str(value)
