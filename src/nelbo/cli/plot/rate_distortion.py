"""`nelbo plot rate-distortion`."""

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import bars, emit_json, out, write_csv
from nelbo.cli.options import DeviceOption
from nelbo.cli.plot.common import DataOption, OutOption, RunArgument, SeedOption, images_for, keep
from nelbo.data import ImageDataset
from nelbo.evaluation import CodecPoint, available_codecs, codec_curve
from nelbo.evaluation import rate_distortion as curve_of
from nelbo.plots import rate_distortion_curve
from nelbo.runs import DiffusionRun, load_as


def rate_distortion(
    run: RunArgument,
    picture: OutOption = Path("rate-distortion.png"),
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Images, evenly spread over the set.")] = 64,
    steps: Annotated[int | None, typer.Option(help="Walk a stride of so many steps; all T if absent.")] = None,
    table_path: Annotated[
        Path | None, typer.Option("--csv", help="Write every row of the curve to this file (- for standard output).")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write it all as JSON to this file (- for standard output).")
    ] = None,
    seed: SeedOption = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass through the network.")] = 64,
    device: DeviceOption = None,
) -> None:
    """Rate against distortion, step by step (fig. 5, table 4), beside JPEG, WebP and JPEG XL on the same images.

    The rows add up the bound of `nelbo evaluate` from t = T downwards: the last one's rate and L_0 are its total.
    """
    model = load_as(DiffusionRun, run, device=device)
    with bars() as bar:
        images = images_for(model, data, num, bar)
        report = model.bound(
            images,
            steps_per_image=None,
            steps=steps,
            seed=seed,
            batch_size=batch_size,
            progress=lambda done, total: bar("scoring", done, total),
        )
    curve = curve_of(report)
    codecs = _formats(images) if model.levels == 256 else {}
    keep(rate_distortion_curve(curve.points, curve.total, codecs), picture)
    rows = [{**vars(p), "rate_share": p.rate / curve.rate if curve.rate > 0 else 0.0} for p in curve.points]
    if table_path is not None:
        write_csv(table_path, rows)
    if json is not None:
        emit_json(
            {
                "bits_per_dim": {"total": curve.total, "rate": curve.rate, "distortion": curve.distortion},
                "standard_error": report.standard_error,
                "points": rows,
                "codecs": {name: [vars(point) for point in points] for name, points in codecs.items()},
                "num_images": len(images),
                "variance": report.variance,
                "version": nelbo.__version__,
            },
            json,
        )
    if "-" in (str(table_path), str(json)):
        return
    table = Table(title=f"{run} on {len(images)} images of {images.name}", title_justify="left")
    for name in ("reverse steps", "rate, bits/dim", "RMSE, 0..255", "share of the rate"):
        table.add_column(name, justify="right")
    for row in _tenths(rows):
        table.add_row(f"{row['reverse_steps']}", f"{row['rate']:.5f}", f"{row['rmse']:.3f}", f"{row['rate_share']:.1%}")
    out.print(table)
    out.print(
        f"bound {curve.total:.4f} = rate {curve.rate:.4f} + distortion {curve.distortion:.4f} bits/dim, "
        f"variance {report.variance}",
        highlight=False,
    )
    for name, points in codecs.items():
        lossy = ", ".join(f"{p.bits_per_dim:.2f} at RMSE {p.rmse:.1f}" for p in points[2:9:3])
        out.print(f"{name}: {lossy} bits/dim, headers counted", highlight=False)


def _formats(images: ImageDataset) -> dict[str, list[CodecPoint]]:
    """The curve of every image format that can be written here."""
    pixels = images.images(torch.arange(len(images)))
    return {name: codec_curve(name, pixels) for name in available_codecs()} if images.shape[0] in (1, 3) else {}


def _tenths(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last row of every tenth of the walk."""
    return [rows[math.ceil(len(rows) * tenth / 10) - 1] for tenth in range(1, 11)] if len(rows) > 10 else rows
