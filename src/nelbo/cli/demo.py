"""`nelbo demo`: train, sample and score on the bundled digits, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import bars, say, show
from nelbo.recipes.presets import PRESETS

STEPS_PER_IMAGE = 32
PICTURES = {
    "samples.png": "64 sampled digits",
    "trajectory.png": "one sample on its way from noise to image",
    "bound-per-step.png": "the bound by step t",
    "bound.png": "the held-out bound during training",
}


def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder to write.")] = Path("runs/demo"),
    minutes: Annotated[
        float | None,
        typer.Option(
            help=f"Training time in minutes; {PRESETS['digits'].training.minutes:g} by default (preset digits)."
        ),
    ] = None,
) -> None:
    """Train a model on the bundled digits, sample from it, evaluate it, and list its pictures."""
    import nelbo
    from nelbo.cli.display import TrainingDisplay
    from nelbo.evaluation import baselines_of
    from nelbo.runs import DiffusionRun, load_as
    from nelbo.studies import data_of

    overrides = {} if minutes is None else {"training.minutes": minutes}
    with TrainingDisplay() as display:
        nelbo.train("digits", out_folder, overrides=overrides, listener=display.listener())
    if display.stopped:
        say(display.stopped)
        return
    run = load_as(DiffusionRun, out_folder)
    split = data_of(run)
    with bars() as bar:
        report = run.bound(split.require_test(), steps_per_image=STEPS_PER_IMAGE, progress=bar.of("scoring"))
    show(
        f"bound of the {report.num_images} held-out digits: {report.total:.3f} +- {report.standard_error:.3f} bits/dim "
        f"(without the model: {baselines_of(split.require_test(), split.train)})"
    )
    for name, content in PICTURES.items():
        if (out_folder / name).exists():
            show(f"  {out_folder / name}: {content}")
    say(f"next: nelbo sample {out_folder} --seed 1, or your own images: nelbo train --data FOLDER --out runs/mine")
