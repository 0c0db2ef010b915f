"""`nelbo plot neighbours`: samples and the training images nearest to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars, show
from nelbo.cli.options import DeviceOption, JsonOption, RunArgument, SeedOption, StepsOption
from nelbo.cli.plot.common import OutOption, figure_path, keep, model_of_images
from nelbo.cli.results import prints_table, versioned, write_results

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.evaluation import Neighbours


def neighbours(
    run: RunArgument,
    picture: OutOption = Path("neighbours.png"),
    num: Annotated[int, typer.Option(min=1, help="Number of samples, one per row.")] = 8,
    k: Annotated[int, typer.Option("--neighbours", min=1, help="Number of nearest training images per sample.")] = 6,
    steps: StepsOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Plot samples next to their nearest training images, to check whether the model has memorised training images.

    Distances are RMSE in grey levels (0..255). As a reference, the distances from the same number of held-out images to
    their nearest training images are measured. If samples are closer to the training images than held-out images are,
    the model has memorised training images.
    """
    path = figure_path(picture, json=json, run=run)
    import torch

    from nelbo.evaluation import nearest_neighbours, require_neighbours
    from nelbo.plots import neighbours_table
    from nelbo.probability import levels_to_data
    from nelbo.studies import Listener, data_of

    model = model_of_images(run, device)
    with bars() as bar:
        split = data_of(model, Listener(on_stage=bar))
        require_neighbours(k, split.train)
        samples = model.sample(num, steps=steps, seed=seed, progress=bar.of("network calls"))
        held_out = split.test.spread(num)
        both = torch.cat([samples, held_out.images(torch.arange(len(held_out)))])
        found = nearest_neighbours(both, split.train, k, progress=bar.of("training images"))
    nearest = split.train.images(found.indices[:num].flatten()).unflatten(0, (num, k))
    rows, beside = (levels_to_data(images, model.levels) for images in (samples, nearest))
    if prints_table(json):
        _show("samples", found.distances[:num, 0], len(split.train))
        _show("held-out images", found.distances[num:, 0], len(split.train))
    table, values = neighbours_table(rows, beside, found.distances[:num]), _plain(found, num, len(split.train))
    write_results(versioned(values), json, figure=lambda: keep(table, path))


def _plain(found: Neighbours, num: int, num_train: int) -> dict[str, object]:
    """The neighbours as plain values: first those of `num` samples, then those of held-out images."""
    rows = [
        {"indices": indices, "distances": distances}
        for indices, distances in zip(found.indices.tolist(), found.distances.tolist(), strict=True)
    ]
    return {"samples": rows[:num], "held_out": rows[num:], "num_train": num_train, "unit": "RMSE, 0..255"}


def _show(name: str, distances: Tensor, num_train: int) -> None:
    """Print the median and the smallest distance to the nearest training image."""
    if len(distances):
        show(
            f"{len(distances)} {name}: RMSE to the nearest of {num_train:,} training images: median "
            f"{float(distances.median()):.1f}, smallest {float(distances.min()):.1f}"
        )
