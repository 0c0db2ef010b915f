"""`nelbo plot interpolation`: images between two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DataOption, DeviceOption, RunArgument, SeedOption
from nelbo.cli.plot.common import (
    ChainStepsOption,
    OutOption,
    figure_path,
    images_for,
    keep,
    model_of_images,
    spread_steps,
)
from nelbo.errors import ConfigurationError


def interpolation(
    run: RunArgument,
    picture: OutOption = Path("interpolation.png"),
    data: DataOption = None,
    pair: Annotated[
        tuple[int, int], typer.Option(help="Indices of the two images in the data set, from 0, such as 0 1.")
    ] = (0, 1),
    columns: Annotated[
        int, typer.Option(min=2, help="Number of interpolation weights, evenly spaced from 0 to 1.")
    ] = 11,
    rows: Annotated[
        int, typer.Option(min=1, help="Number of time steps, evenly spaced; a row for t = 0 is added.")
    ] = 8,
    steps: ChainStepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Interpolate between two noisy images x_t, and decode by Algorithm 2 (fig. 8).

    At larger t, the model generates more of the image.

    A class-conditional model interpolates without a class, because the two images may have different ones.
    """
    path = figure_path(picture, run=run, inputs=[data])
    import torch

    from nelbo.plots import interpolation_table
    from nelbo.probability import levels_to_data
    from nelbo.samplers import interpolations

    model = model_of_images(run, device)
    sampler = model.sampler("ancestral", steps=steps)
    times, found = [*spread_steps(sampler.reverse.schedule.num_steps, rows), 0], []
    weights = torch.linspace(0, 1, columns)
    with bars() as bar:
        images = images_for(model, data, None, bar)
        if not all(0 <= number < len(images) for number in pair):
            raise ConfigurationError(
                f"--pair {pair[0]} {pair[1]}: the images of {images.name} are numbered 0..{len(images) - 1}."
            )
        ends = levels_to_data(images.images(pair), model.levels).to(sampler.reverse.schedule.device)
        for images_at_t in interpolations(sampler, ends, weights, times, seed):
            found.append(images_at_t)
            bar("values of t", len(found), len(times))
    keep(interpolation_table(found, weights.tolist(), ends), path)
