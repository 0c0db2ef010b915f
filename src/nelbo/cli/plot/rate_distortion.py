"""`nelbo plot rate-distortion`: the rate-distortion curve of a model beside image formats."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nelbo.cli.console import bars, out, show
from nelbo.cli.options import BatchOption, DataOption, DeviceOption, JsonOption, RunArgument, SeedOption
from nelbo.cli.plot.common import CsvOption, OutOption, figure_path, images_for, keep
from nelbo.cli.results import prints_table, versioned, write_results

if TYPE_CHECKING:
    from nelbo.data import ImageDataset
    from nelbo.evaluation import BoundReport, CodecPoint, RateDistortion

    Codecs = dict[str, list[CodecPoint]]


def rate_distortion(
    run: RunArgument,
    picture: OutOption = Path("rate-distortion.png"),
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Number of images, evenly spaced in the data set.")] = 64,
    steps: Annotated[
        int | None, typer.Option(help="Evaluate the model with this many reverse steps instead of all.")
    ] = None,
    csv_path: CsvOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Plot rate against distortion for each step (fig. 5, table 4), compared with JPEG and WebP.

    With pillow-jxl-plugin installed, JPEG XL is included too. Each row of the printed table adds one step of the bound,
    starting at t = T. The last rate plus L_0 is the
    total that `nelbo evaluate` reports. The image formats encode the same images.
    """
    path = figure_path(picture, json=json, csv=csv_path, run=run, inputs=[data])
    from nelbo.evaluation import rate_distortion as curve_of
    from nelbo.plots import rate_distortion_curve
    from nelbo.runs import DiffusionRun, load_as

    model = load_as(DiffusionRun, run, device=device)
    model.require_decoder()  # before the images are read
    with bars() as bar:
        images = images_for(model, data, num, bar)
        report = model.bound(
            images, steps_per_image=None, steps=steps, seed=seed, batch_size=batch_size, progress=bar.of("scoring")
        )
    curve = curve_of(report)
    codecs = _codecs(images) if model.levels == 256 else {}
    rows = [{**vars(p), "rate_share": p.rate / curve.rate if curve.rate > 0 else 0.0} for p in curve.points]
    values = _plain(curve, report, rows, codecs) | {"num_images": len(images), "variance": report.variance}
    if prints_table(json, csv_path):
        _show(curve, report, rows, codecs, f"{run} on {len(images)} images of {images.name}")
    curves = rate_distortion_curve(curve.points, curve.total, codecs)
    write_results(versioned(values), json, rows, csv_path, lambda: keep(curves, path))


def _codecs(images: ImageDataset) -> Codecs:
    """Return the curve of every image format that this machine can write."""
    import torch

    from nelbo.evaluation import available_codecs, codec_curve

    pixels = images.images(torch.arange(len(images)))
    return {name: codec_curve(name, pixels) for name in available_codecs()} if images.shape[0] in (1, 3) else {}


def _plain(curve: RateDistortion, report: BoundReport, rows: list[dict[str, Any]], codecs: Codecs) -> dict[str, Any]:
    """The curves as plain values."""
    return {
        "bits_per_dim": {"total": curve.total, "rate": curve.rate, "distortion": curve.distortion},
        "standard_error": report.standard_error,
        "points": rows,
        "codecs": {name: [vars(point) for point in points] for name, points in codecs.items()},
    }


def _show(curve: RateDistortion, report: BoundReport, rows: list[dict[str, Any]], codecs: Codecs, title: str) -> None:
    """Print every tenth of the curve, the bound, and three points of each image format."""
    table = Table(title=title, title_justify="left")
    for name in ("reverse steps", "rate, bits/dim", "RMSE, 0..255", "share of the rate"):
        table.add_column(name, justify="right")
    for row in _tenths(rows):
        table.add_row(f"{row['reverse_steps']}", f"{row['rate']:.5f}", f"{row['rmse']:.3f}", f"{row['rate_share']:.1%}")
    out.print(table)
    show(
        f"bound {curve.total:.4f} = rate {curve.rate:.4f} + distortion {curve.distortion:.4f} bits/dim, "
        f"variance {report.variance}"
    )
    for name, points in codecs.items():
        lossy = ", ".join(f"{p.bits_per_dim:.2f} at RMSE {p.rmse:.1f}" for p in points[2:9:3])
        show(f"{name}: {lossy} bits/dim, headers included")


def _tenths(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last row of every tenth of the chain."""
    return [rows[math.ceil(len(rows) * tenth / 10) - 1] for tenth in range(1, 11)] if len(rows) > 10 else rows
