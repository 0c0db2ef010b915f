"""`nelbo plot interpolation`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption, StepsOption
from nelbo.cli.plot.common import (
    DataOption,
    OutOption,
    RunArgument,
    SeedOption,
    images_for,
    keep,
    model_of_images,
    spread_steps,
)
from nelbo.errors import ConfigurationError
from nelbo.plots import interpolation_table
from nelbo.probability import levels_to_data
from nelbo.samplers import interpolations


def interpolation(
    run: RunArgument,
    picture: OutOption = Path("interpolation.png"),
    data: DataOption = None,
    pair: Annotated[tuple[int, int], typer.Option(help="The two images, by their numbers in the set.")] = (0, 1),
    columns: Annotated[int, typer.Option(min=2, help="Weights from 0 to 1.")] = 11,
    rows: Annotated[int, typer.Option(min=1, help="Values of t, evenly spread over 1..T; 0 comes besides.")] = 8,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """From one image to another through x_t (fig. 8): the larger t, the more the model makes up on the way."""
    model = model_of_images(run, device)
    sampler = model.sampler(steps=steps)
    wanted, ways = [*spread_steps(sampler.reverse.schedule.num_steps, rows), 0], []
    weights = torch.linspace(0, 1, columns)
    with bars() as bar:
        images = images_for(model, data, None, bar)
        if not all(0 <= place < len(images) for place in pair):
            raise ConfigurationError(
                f"--pair {pair[0]} {pair[1]} names images of {images.name}, which are numbered 0..{len(images) - 1}."
            )
        ends = levels_to_data(images.images(pair), model.levels).to(sampler.reverse.schedule.alphas_bar.device)
        for way in interpolations(sampler, ends, weights, wanted, seed):
            ways.append(way)
            bar("values of t", len(ways), len(wanted))
    keep(interpolation_table(ways, weights.tolist(), ends), picture)
