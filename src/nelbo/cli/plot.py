"""`nelbo plot`: the paper's figures for any run."""

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import bars, emit_json, err, out, write_csv
from nelbo.config import DiffusionRun, Listener, Run, held_out_part, load_as
from nelbo.data import ImageDataset, load_for_model
from nelbo.diffusion import ForwardProcess, NoiseSchedule
from nelbo.evaluation import CodecPoint, available_codecs, codec_curve, rate_distortion
from nelbo.plots import (
    forward_strip,
    rate_distortion_curve,
    save,
    schedule_curves,
    trajectory_strip,
)
from nelbo.probability import levels_to_data
from nelbo.randomness import standard_normal

app = typer.Typer(no_args_is_help=True, help="Draw the paper's figures for a run.")

RunArgument = Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")]
DataOption = Annotated[str | None, typer.Option(help="Other images than the ones held out in training.")]
SeedOption = Annotated[int, typer.Option(help="Of everything that is drawn.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the best one if absent.")]


def images_for(model: Run, data: str | None, num: int, bar: Any) -> ImageDataset:
    """So many images of `data`, or of those that the run held out."""
    if data is None:
        return held_out_part(model, None, Listener(on_stage=bar)).spread(num)
    images, _ = load_for_model(data, model.shape, progress=lambda done, total: bar("reading images", done, total))
    return images.spread(num)


@app.command("rate-distortion")
def rate_distortion_command(
    run: RunArgument,
    picture: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("rate-distortion.png"),
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Images, evenly spread over the set.")] = 64,
    steps: Annotated[int | None, typer.Option(help="Walk a stride of so many steps; all T if absent.")] = None,
    table_path: Annotated[Path | None, typer.Option("--csv", help="Write every row of the curve to this file.")] = None,
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
    curve = rate_distortion(report)
    codecs = _formats(images) if model.levels == 256 else {}
    save(rate_distortion_curve(curve.points, curve.total, codecs), picture)
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
    if str(json) == "-":
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
    err.print(f"the picture: {picture}", highlight=False)


@app.command()
def schedules(
    run: Annotated[str | None, typer.Argument(help="A run, whose schedule is drawn beside the others.")] = None,
    picture: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("schedules.png"),
) -> None:
    """The schedules side by side: alphas_bar, log SNR, beta, and the coefficients of the posterior (eq. 7)."""
    named = {
        "linear": NoiseSchedule.linear(),
        "cosine": NoiseSchedule.cosine(),
        "log-linear": NoiseSchedule.log_linear(),
    }
    if run is not None:
        own = load_as(DiffusionRun, run, device="cpu").schedule
        named = {run: own} | {name: s for name, s in named.items() if not torch.equal(s.alphas_bar, own.alphas_bar)}
    save(schedule_curves(named), picture)
    err.print(f"the picture: {picture}", highlight=False)


@app.command()
def forward(
    run: RunArgument,
    picture: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("forward.png"),
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Images, one a row.")] = 4,
    columns: Annotated[int, typer.Option(min=2, help="Values of t, evenly spread over 0..T.")] = 11,
    seed: SeedOption = 0,
) -> None:
    """Images on their way into noise, each with one noise all along: x_t of eq. 4."""
    model = load_as(DiffusionRun, run, device="cpu")
    with bars() as bar:
        images = images_for(model, data, num, bar)
    x_0 = levels_to_data(images.images(torch.arange(len(images))), model.levels)
    noise = standard_normal(x_0.shape, torch.Generator().manual_seed(seed), x_0)
    total = model.schedule.num_steps
    times = sorted({round(total * place / (columns - 1)) for place in range(columns)})
    process = ForwardProcess(model.schedule)
    noisy = [x_0 if t == 0 else process.sample(x_0, torch.full((len(x_0),), t), noise) for t in times]
    save(forward_strip(times, noisy), picture)
    err.print(f"the picture: {picture}", highlight=False)


@app.command()
def progressive(
    run: RunArgument,
    picture: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("progressive.png"),
    num: Annotated[int, typer.Option(min=1, help="Images, two rows each.")] = 4,
    columns: Annotated[int, typer.Option(min=2, help="Moments, evenly spread over the walk.")] = 11,
    steps: Annotated[int | None, typer.Option(help="Reverse steps, 1..T; all T if absent.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Images coming into being (fig. 6): x_t above, and xhat_0 that the network sees in it below."""
    model = load_as(DiffusionRun, run, device=device)
    total, walk = steps or model.schedule.num_steps, []
    with bars() as bar:
        for done, step in enumerate(model.trajectory(num, steps=steps, seed=seed)):
            walk.append(step)
            bar("network calls", min(done + 1, total), total)
    save(trajectory_strip(walk, columns, num), picture)
    err.print(f"the picture: {picture}", highlight=False)


def _formats(images: ImageDataset) -> dict[str, list[CodecPoint]]:
    """The curve of every image format that can be written here."""
    pixels = images.images(torch.arange(len(images)))
    return {name: codec_curve(name, pixels) for name in available_codecs()} if images.shape[0] in (1, 3) else {}


def _tenths(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last row of every tenth of the walk."""
    return [rows[math.ceil(len(rows) * tenth / 10) - 1] for tenth in range(1, 11)] if len(rows) > 10 else rows
