"""`nelbo plot shared`: samples that share a latent x_t."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption, RunArgument, SeedOption
from nelbo.cli.plot.common import ChainStepsOption, OutOption, figure_path, keep, model_of_images, spread_steps


def shared(
    run: RunArgument,
    picture: OutOption = Path("shared.png"),
    num: Annotated[int, typer.Option(min=1, help="Number of samples from each x_t.")] = 6,
    rows: Annotated[int, typer.Option(min=1, help="Number of time steps, evenly spaced.")] = 8,
    steps: ChainStepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Plot samples of Algorithm 2 that start from the same noisy image x_t (fig. 7).

    At smaller t, they are more similar.
    """
    path = figure_path(picture, run=run)
    from nelbo.plots import shared_table
    from nelbo.samplers import shared_latents

    model = model_of_images(run, device)
    sampler = model.sampler("ancestral", steps=steps)
    times, found = spread_steps(sampler.reverse.schedule.num_steps, rows), []
    with bars() as bar:
        label = model.model.classes(None, 1, seed=seed)
        for latent in shared_latents(sampler, model.shape, times, num, seed, label):
            found.append(latent)
            bar("values of t", len(found), len(times))
    keep(shared_table(found), path)
