"""`nelbo plot neighbours`: samples and the training images nearest to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars, show
from nelbo.cli.options import DeviceOption, JsonOption, RunArgument, SeedOption, StepsOption
from nelbo.cli.plot.common import OutOption, figure_path, images_for, keep, model_of_images
from nelbo.cli.results import prints_table, versioned, write_results

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.data import ImageDataset
    from nelbo.evaluation import Neighbours
    from nelbo.progress import Bars
    from nelbo.runs import DiffusionRun


def neighbours(
    run: RunArgument,
    picture: OutOption = Path("neighbours.png"),
    num: Annotated[int, typer.Option(min=1, help="Number of samples, one per row.")] = 8,
    k: Annotated[int, typer.Option("--neighbours", min=1, help="Number of nearest training images per sample.")] = 6,
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to search instead of the run's training images: a folder, a .npy or .npz file, or the name of "
            "a built-in data set. They are resized and cropped as in training."
        ),
    ] = None,
    steps: StepsOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Plot samples next to their nearest training images, to check whether the model has memorised training images.

    Distances are RMSE in grey levels (0..255). As a reference, the distances from the same number of held-out images to
    their nearest training images are measured. If samples are closer to the training images than held-out images are,
    the model has memorised training images. With --data there is no such reference.
    """
    path = figure_path(picture, json=json, run=run, inputs=[data])
    import torch

    from nelbo.evaluation import nearest_neighbours, require_neighbours
    from nelbo.plots import neighbours_table
    from nelbo.probability import levels_to_data

    model = model_of_images(run, device)
    with bars() as bar:
        searched, held_out = _searched(model, data, num, bar)
        require_neighbours(k, searched)
        samples = model.sample(num, steps=steps, seed=seed, progress=bar.of("network calls"))
        both = samples if held_out is None else torch.cat([samples, held_out.images(torch.arange(len(held_out)))])
        found = nearest_neighbours(both, searched, k, progress=bar.of("training images"))
    nearest = searched.images(found.indices[:num].flatten()).unflatten(0, (num, k))
    rows, beside = (levels_to_data(images, model.levels) for images in (samples, nearest))
    if prints_table(json):
        _show("samples", found.distances[:num, 0], len(searched), data)
        _show("held-out images", found.distances[num:, 0], len(searched), data)
    table, values = neighbours_table(rows, beside, found.distances[:num]), _plain(found, num, len(searched))
    write_results(versioned(values), json, figure=lambda: keep(table, path))


def _searched(model: DiffusionRun, data: str | None, num: int, bar: Bars) -> tuple[ImageDataset, ImageDataset | None]:
    """Read the images to search, and `num` held-out ones to compare with; None with --data."""
    from nelbo.studies import Listener, data_of

    if data is not None:
        return images_for(model, data, None, bar), None
    split = data_of(model, Listener(on_stage=bar))
    return split.train, split.test.spread(num)


def _plain(found: Neighbours, num: int, num_train: int) -> dict[str, object]:
    """The neighbours as plain values: first those of `num` samples, then those of held-out images."""
    rows = [
        {"indices": indices, "distances": distances}
        for indices, distances in zip(found.indices.tolist(), found.distances.tolist(), strict=True)
    ]
    return {"samples": rows[:num], "held_out": rows[num:], "num_train": num_train, "unit": "RMSE, 0..255"}


def _show(name: str, distances: Tensor, num_searched: int, data: str | None) -> None:
    """Print the median and the smallest distance to the nearest image."""
    searched = "training images" if data is None else f"images of {data}"
    if len(distances):
        show(
            f"{len(distances)} {name}: RMSE to the nearest of {num_searched:,} {searched}: median "
            f"{float(distances.median()):.1f}, smallest {float(distances.min()):.1f}"
        )
