"""`nelbo demo`: the whole of it on the bundled digits, in a few minutes."""

from pathlib import Path
from typing import Annotated

import typer

import nelbo
from nelbo.cli.console import bars, err, out
from nelbo.cli.train import TrainingDisplay
from nelbo.runs import DiffusionRun, load_as
from nelbo.studies import held_out_part

HISTOGRAM_BITS = 2.36  # a histogram for each position, fitted on the same 1,500 images


def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("runs/demo"),
    minutes: Annotated[float | None, typer.Option(help="Time budget for training.")] = None,
) -> None:
    """Train on the bundled digits, sample, score, and say where the pictures are."""
    overrides = {} if minutes is None else {"training.minutes": minutes}
    with TrainingDisplay() as display:
        nelbo.train("digits", out_folder, overrides=overrides, listener=display.listener())
    if display.stopped:
        err.print(display.stopped, highlight=False, soft_wrap=True)
        return
    run = load_as(DiffusionRun, out_folder)
    with bars() as bar:
        report = run.bound(
            held_out_part(run), steps_per_image=32, progress=lambda done, total: bar("scoring", done, total)
        )
    out.print(
        f"bound on the {report.num_images} held-out digits: {report.total:.3f} +- {report.standard_error:.3f} bits/dim "
        f"(a histogram of each pixel needs {HISTOGRAM_BITS})",
        highlight=False,
    )
    for name, what in (
        ("samples.png", "64 digits that nobody wrote"),
        ("trajectory.png", "one of them on its way from noise"),
        ("bound-per-step.png", "where the bits go"),
        ("bound.png", "the held-out bound while training"),
    ):
        if (out_folder / name).exists():
            out.print(f"  {out_folder / name}: {what}", highlight=False)
    err.print(
        f"next: nelbo sample {out_folder} --seed 1, or your own images: nelbo train --data FOLDER --out runs/mine"
    )
