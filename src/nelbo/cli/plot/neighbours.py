"""`nelbo plot neighbours`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

import nelbo
from nelbo.cli.console import bars, emit_json, out
from nelbo.cli.options import DeviceOption, StepsOption
from nelbo.cli.plot.common import (
    OutOption,
    RunArgument,
    SeedOption,
    keep,
    model_of_images,
)
from nelbo.evaluation import nearest_neighbours, require_neighbours
from nelbo.plots import neighbours_table
from nelbo.probability import levels_to_data
from nelbo.studies import Listener, data_of


def neighbours(
    run: RunArgument,
    picture: OutOption = Path("neighbours.png"),
    num: Annotated[int, typer.Option(min=1, help="Samples, one a row.")] = 8,
    k: Annotated[int, typer.Option("--neighbours", min=1, help="Training images beside each.")] = 6,
    steps: StepsOption = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the distances as JSON to this file (- for standard output).")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Samples beside the training images nearest to them, pixel by pixel: does the model remember, or make up?

    Distances are RMSE on the 0..255 scale. As many held-out images are measured too: samples that lie nearer to the
    training images than those do were remembered.
    """
    model = model_of_images(run, device)
    with bars() as bar:
        split = data_of(model, Listener(on_stage=bar))
        require_neighbours(k, split.train)
        samples = model.sample(
            num, steps=steps, seed=seed, progress=lambda done, total: bar("network calls", done, total)
        )
        unseen = split.test.spread(num)
        both = torch.cat([samples, unseen.images(torch.arange(len(unseen)))])
        found = nearest_neighbours(
            both, split.train, k, progress=lambda done, total: bar("training images", done, total)
        )
    nearest = split.train.images(found.indices[:num].flatten()).unflatten(0, (num, k))
    rows, beside = (levels_to_data(images, model.levels) for images in (samples, nearest))
    keep(neighbours_table(rows, beside, found.distances[:num]), picture)
    if json is not None:
        emit_json(
            {
                "samples": _rows(found.indices[:num], found.distances[:num]),
                "held_out": _rows(found.indices[num:], found.distances[num:]),
                "num_train": len(split.train),
                "unit": "RMSE, 0..255",
                "version": nelbo.__version__,
            },
            json,
        )
    if str(json) == "-":
        return
    for name, distances in (("samples", found.distances[:num, 0]), ("held-out images", found.distances[num:, 0])):
        if len(distances):
            out.print(
                f"{len(distances)} {name}: RMSE to the nearest of {len(split.train):,} training images "
                f"{float(distances.median()):.1f} in the median, {float(distances.min()):.1f} at the least",
                highlight=False,
                soft_wrap=True,
            )


def _rows(indices: torch.Tensor, distances: torch.Tensor) -> list[dict[str, list[float]]]:
    return [
        {"indices": where, "distances": away} for where, away in zip(indices.tolist(), distances.tolist(), strict=True)
    ]
