"""`nelbo score`: how surprising each image is to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nelbo.cli.beside import read_images
from nelbo.cli.console import bars, name_changes, name_rejects, out
from nelbo.cli.options import (
    STDOUT,
    ConditionImagesOption,
    DeviceOption,
    JsonOption,
    MaskOption,
    ModelOption,
    ResizeOption,
    SeedOption,
    TableOption,
)
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.data import ImageDataset
    from nelbo.runs import Report, Run

MOST_SHOWN = 10  # images in the table, and the last one
STEPS_PER_IMAGE = 32


def score(
    images: Annotated[
        str,
        typer.Argument(help="Image, folder of images, .npy or .npz file, or the name of a built-in data set."),
    ],
    model: ModelOption,
    csv_: Annotated[
        Path | None,
        typer.Option("--csv", help=f"Write the columns image (path) and bits_per_dim as CSV to this file {STDOUT}."),
    ] = None,
    json: JsonOption = None,
    mask: MaskOption = None,
    table: TableOption = None,
    condition_images: ConditionImagesOption = None,
    resize: ResizeOption = True,
    steps_per_image: Annotated[
        int | None,
        typer.Option(
            min=0, help=f"Number of time steps to evaluate per image; 0 means all, {STEPS_PER_IMAGE} by default."
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Score images in bits/dim, highest first.

    The score of an image is an unbiased estimate of the upper bound on -log2 p(image), divided by the number of
    dimensions. A larger --steps-per-image reduces the variance of the estimate.
    """
    check_outputs({"--csv": csv_, "--json": json}, [images], model)
    import nelbo

    run = nelbo.load(model, device=device)
    run.refuse_chain_options({"steps_per_image": steps_per_image})
    run.require_decoder()  # before the images are read
    with bars() as bar:
        beside = {"mask": mask, "table": table, "condition_images": condition_images}
        prepared = read_images(run, images, resize, beside, bar)
        dataset = prepared.images
        report = _bound(run, dataset, steps_per_image, seed, bar)
    name_changes(prepared)
    ranking = sorted(zip(prepared.names, report.scores.tolist(), strict=True), key=lambda pair: -pair[1])
    values = {
        "model": str(model),
        "scores": [{"image": name, "bits_per_dim": value} for name, value in ranking],
        "rejects": [vars(reject) for reject in dataset.rejects],
    }
    rows = [{"image": name, "bits_per_dim": f"{value:.5f}"} for name, value in ranking]
    if prints_table(json, csv_):
        out.print(_table(ranking, report.total))
        name_rejects(dataset.rejects)
    write_results(versioned(values), json, rows, csv_)


def _bound(run: Run, images: ImageDataset, steps_per_image: int | None, seed: int, bar: Bars) -> Report:
    """Compute the bound of every image."""
    from nelbo.runs import DiffusionRun

    if not isinstance(run, DiffusionRun):
        return run.bound(images, seed=seed, progress=bar.of("scoring"))
    steps = STEPS_PER_IMAGE if steps_per_image is None else steps_per_image or None
    return run.bound(images, steps_per_image=steps, seed=seed, progress=bar.of("scoring"))


def _table(ranking: list[tuple[str, float]], mean: float) -> Table:
    """The first images of the ranking, and the last one."""
    title = f"{len(ranking)} image{'s' * (len(ranking) != 1)}, mean {mean:.3f} bits/dim"
    table = Table(title=title, title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("bits/dim", justify="right")
    for name, value in ranking[:MOST_SHOWN]:
        table.add_row(name, f"{value:.3f}")
    if len(ranking) > MOST_SHOWN:
        name, value = ranking[-1]
        table.add_row("...", "...")
        table.add_row(name, f"{value:.3f}")
    return table
