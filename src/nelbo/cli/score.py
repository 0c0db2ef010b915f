"""`nelbo score`: how surprising each image is to a model, and which images are unusual."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import bars, name_changes, name_rejects, out, say
from nelbo.cli.engine import (
    AddressOption,
    EngineOption,
    GpusOption,
    PartSizeOption,
    PartsOption,
    WorkersOption,
    parts_given,
)
from nelbo.cli.options import (
    STDOUT,
    BatchOption,
    ConditionImagesOption,
    DataOption,
    DeviceOption,
    JsonOption,
    MaskOption,
    ModelOption,
    ResizeOption,
    SeedOption,
    TableOption,
    flag_help,
)
from nelbo.cli.outputs import check_outputs, check_pictures
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.cli.score_parts import scored_by_parts, show_parts
from nelbo.cli.score_results import Ranking, draw_maps
from nelbo.errors import ConfigurationError, option
from nelbo.evaluation.decision_options import DecisionOptions
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.data import ImageDataset
    from nelbo.evaluation import Decisions
    from nelbo.runs import Run


def score(
    images: Annotated[
        str,
        typer.Argument(help="Image, folder of images, .npy or .npz file, or the name of a built-in data set."),
    ],
    model: ModelOption,
    csv_: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write the columns image (path) and bits_per_dim, and those of the p-values, as CSV to this file "
            f"{STDOUT}.",
        ),
    ] = None,
    json: JsonOption = None,
    mask: MaskOption = None,
    table: TableOption = None,
    condition_images: ConditionImagesOption = None,
    heat_map: Annotated[
        Path | None,
        typer.Option(help="Write a picture of the bits of each pixel for every image into this folder."),
    ] = None,
    target: PartsOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    part_size: PartSizeOption = None,
    resize: ResizeOption = True,
    p_values: Annotated[
        bool | None,
        typer.Option(
            "--p-values/--no-p-values",
            help="Compare the images with held-out images: p-values, and which images are unusual. By default if the "
            "run folder has the scores of the held-out images; --p-values computes them once.",
        ),
    ] = None,
    fdr: Annotated[float | None, typer.Option(help=flag_help(DecisionOptions, "fdr"))] = None,
    tails: Annotated[str | None, typer.Option(help=flag_help(DecisionOptions, "tails"))] = None,
    complexity: Annotated[str | None, typer.Option(help=flag_help(DecisionOptions, "complexity"))] = None,
    num_held_out: Annotated[int | None, typer.Option(help=flag_help(DecisionOptions, "num_held_out"))] = None,
    data: DataOption = None,
    steps_per_image: Annotated[
        int | None, typer.Option(min=0, help=flag_help(DecisionOptions, "steps_per_image"))
    ] = None,
    seed: SeedOption = 0,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Score images in bits/dim, and find unusual ones.

    The score of an image is an unbiased estimate of the upper bound on -log2 p(image), divided by the number of
    dimensions. A larger --steps-per-image reduces the variance of the estimate. The p-value of an image is the share of
    held-out images that are at least as surprising. The most unusual images come first.
    """
    every = {"fdr": fdr, "tails": tails, "complexity": complexity, "num_held_out": num_held_out}
    given: dict[str, Any] = {name: value for name, value in every.items() if value is not None}
    options = DecisionOptions(**given, steps_per_image=steps_per_image, seed=seed, batch_size=batch_size)
    parts = parts_given(target, engine, workers, address, gpus, part_size)
    decided = _wanted(p_values, [*given, *(["data"] if data else [])])
    if parts is not None and (decided or csv_ or heat_map):
        flag = "--csv" if csv_ else "--heat-map" if heat_map else "--p-values"
        raise ConfigurationError(f"with --out, the score of each image is in the folder; remove {flag}.")
    check_outputs({"--csv": csv_, "--json": json}, [images, data], model)
    check_pictures("--heat-map", heat_map, images, model)
    import nelbo
    from nelbo.data import Beside

    run = nelbo.load(model, device=device)
    run.refuse_chain_options({"steps_per_image": steps_per_image, "heat_map": heat_map})
    run.require_decoder()  # before the images are read
    with bars() as bar:
        prepared = run.read(
            images,
            resize=resize,
            progress=bar.of("reading images"),
            in_place=parts is not None,
            beside=Beside(mask, table, condition_images),
        )
        dataset = prepared.images
        if parts is not None:
            by_parts = scored_by_parts(run, dataset, prepared.names, parts, options, device, bar)
            name_changes(prepared)
            show_parts(by_parts, model, dataset.rejects, json)
            return
        others = None if data is None else _others(run, data, resize, bar)
        rows, found = _measured(run, dataset, options, decided, others, bar)
    ranking = Ranking.of(prepared.names, rows, found)
    name_changes(prepared)
    values = {
        "model": str(model),
        **({} if found is None else {"decisions": found.to_json()}),
        "scores": ranking.rows,
        "rejects": [vars(reject) for reject in dataset.rejects],
    }
    if prints_table(json, csv_):
        out.print(ranking.table())
        name_rejects(dataset.rejects)
    maps = None if heat_map is None else partial(draw_maps, run, dataset, ranking, options, heat_map)
    write_results(versioned(values), json, ranking.written(), csv_, maps)


def _wanted(p_values: bool | None, given: Sequence[str]) -> bool | None:
    """Return whether to give p-values; None for where the run folder has the scores of the held-out images.

    Raises:
        ConfigurationError: --no-p-values, and an option of the p-values.
    """
    if p_values is False and given:
        raise ConfigurationError(f"{option('p_values', False)} leaves out what {option(given[0])} sets; remove one.")
    return True if given else p_values


def _others(run: Run, data: str, resize: bool, bar: Bars) -> ImageDataset:
    """Read the images of --data."""
    prepared = run.read(data, resize=resize, progress=bar.of("reading held-out images"))
    name_changes(prepared)
    return prepared.images


def _measured(
    run: Run,
    images: ImageDataset,
    options: DecisionOptions,
    decided: bool | None,
    others: ImageDataset | None,
    bar: Bars,
) -> tuple[list[dict[str, Any]], Decisions | None]:
    """Score the images; return a row of values for each, and the decisions if there are any."""
    from nelbo.studies import decide, score_images, stored_scores

    if decided or (decided is None and stored_scores(run, options)):
        found = decide(run, images, options, data=others, progress=bar)
        return found.rows(), found
    bits = score_images(run, images, options, progress=bar.of("scoring"))
    if decided is None:
        say("--p-values also says which images are unusual; it scores held-out images of the run, once")
    return [{"bits_per_dim": value} for value in bits.tolist()], None
