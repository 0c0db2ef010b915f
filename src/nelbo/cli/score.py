"""`nelbo score`: how surprising each image is to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nelbo.cli.console import bars, name_changes, name_rejects, out, show
from nelbo.cli.engine import (
    AddressOption,
    EngineOption,
    GpusOption,
    Parts,
    PartSizeOption,
    PartsOption,
    WorkersOption,
    kept_parts,
    parts_given,
)
from nelbo.cli.options import (
    RESIZE,
    STDOUT,
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    ResizeOption,
    SeedOption,
)
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.display import counted
from nelbo.errors import ConfigurationError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.data import ImageDataset, Reject
    from nelbo.engines import ScoresReport
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
    target: PartsOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    part_size: PartSizeOption = None,
    resize: ResizeOption = True,
    steps_per_image: Annotated[
        int | None,
        typer.Option(
            min=0, help=f"Number of time steps to evaluate per image; 0 means all, {STEPS_PER_IMAGE} by default."
        ),
    ] = None,
    seed: SeedOption = 0,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Score images in bits/dim, highest first.

    The score of an image is an unbiased estimate of the upper bound on -log2 p(image), divided by the number of
    dimensions. A larger --steps-per-image reduces the variance of the estimate.
    """
    parts = parts_given(target, engine, workers, address, gpus, part_size)
    if parts is not None and csv_ is not None:
        raise ConfigurationError("with --out, the score of each image is in the folder; remove --csv.")
    check_outputs({"--csv": csv_, "--json": json}, [images], model)
    import nelbo
    from nelbo.data import load_for_model
    from nelbo.data.names import MEMORY_BUDGET

    run = nelbo.load(model, device=device)
    run.refuse_chain_options({"steps_per_image": steps_per_image})
    run.require_decoder()  # before the images are read
    with bars() as bar:
        progress, limits = bar.of("reading images"), run.config.data.range
        budget = MEMORY_BUDGET if parts is None else 0
        prepared = load_for_model(
            images, run.shape, resize=resize, progress=progress, limits=limits, memory_budget=budget
        )
        dataset = run.dataset_of(prepared.images, remedy=RESIZE)
        if parts is not None:
            draws = {"steps_per_image": _of_all(steps_per_image), "seed": seed, "batch_size": batch_size}
            by_parts = _by_parts(run, dataset, prepared.names, parts, draws, device, bar)
        else:
            report = _bound(run, dataset, steps_per_image, seed, batch_size, bar)
    name_changes(prepared)
    if parts is not None:
        _show_parts(by_parts, model, dataset.rejects, json)
        return
    ranking = sorted(zip(prepared.names, report.scores.tolist(), strict=True), key=lambda pair: -pair[1])
    values = {
        "model": str(model),
        "scores": [{"image": name, "bits_per_dim": value} for name, value in ranking],
        "rejects": [vars(reject) for reject in dataset.rejects],
    }
    rows = [{"image": name, "bits_per_dim": f"{value:.5f}"} for name, value in ranking]
    if prints_table(json, csv_):
        out.print(_table(ranking[:MOST_SHOWN], ranking[-1], len(ranking), report.total))
        name_rejects(dataset.rejects)
    write_results(versioned(values), json, rows, csv_)


def _bound(
    run: Run, images: ImageDataset, steps_per_image: int | None, seed: int, batch_size: int, bar: Bars
) -> Report:
    """Compute the bound of every image at once."""
    from nelbo.runs import DiffusionRun

    draws: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "progress": bar.of("scoring")}
    if not isinstance(run, DiffusionRun):
        return run.bound(images, **draws)
    return run.bound(images, steps_per_image=_of_all(steps_per_image), **draws)


def _of_all(steps_per_image: int | None) -> int | None:
    """Return the number of values of t, None for all, from that of the flag, where 0 means all."""
    return STEPS_PER_IMAGE if steps_per_image is None else steps_per_image or None


def _by_parts(
    run: Run,
    images: ImageDataset,
    names: Sequence[str],
    parts: Parts,
    draws: dict[str, Any],
    device: str | None,
    bar: Bars,
) -> ScoresReport:
    """Compute the bound of every image part by part."""
    from nelbo.engines import ImageParts, measure, opened
    from nelbo.runs import BoundOptions

    how: dict[str, Any] = {"engine": parts.engine, "part_size": parts.part_size, "device": device}
    options = BoundOptions(**draws)
    return measure(opened(run), ImageParts(images, names), parts.out, options, **how, progress=bar.of("scoring"))


def _show_parts(report: ScoresReport, model: str, rejects: list[Reject], json: Path | None) -> None:
    """Print and write the scores of many images: the highest ones, and where all are."""
    if prints_table(json):
        highest = [(each.image, each.bits_per_dim) for each in report.highest]
        lowest = (report.lowest.image, report.lowest.bits_per_dim)
        out.print(_table(highest[:MOST_SHOWN], lowest, report.num_images, report.total))
        show(kept_parts(report))
        name_rejects(rejects)
    values = {"model": str(model), **report.to_json(), "rejects": [vars(reject) for reject in rejects]}
    write_results(versioned(values), json)


def _table(highest: list[tuple[str, float]], lowest: tuple[str, float], num: int, mean: float) -> Table:
    """The first images of a ranking of `num`, and the last one."""
    table = Table(title=f"{counted(num, 'image')}, mean {mean:.3f} bits/dim", title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("bits/dim", justify="right")
    for name, value in highest:
        table.add_row(name, f"{value:.3f}")
    if num > len(highest):
        name, value = lowest
        table.add_row("...", "...")
        table.add_row(name, f"{value:.3f}")
    return table
