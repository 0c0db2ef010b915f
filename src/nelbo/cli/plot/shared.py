"""`nelbo plot shared`."""

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption, StepsOption
from nelbo.cli.plot.common import (
    OutOption,
    RunArgument,
    SeedOption,
    keep,
    model_of_images,
    spread_steps,
)
from nelbo.plots import shared_table
from nelbo.samplers import shared_latents


def shared(
    run: RunArgument,
    picture: OutOption = Path("shared.png"),
    num: Annotated[int, typer.Option(min=1, help="Draws from each x_t.")] = 6,
    rows: Annotated[int, typer.Option(min=1, help="Values of t, evenly spread over 1..T.")] = 8,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Samples that share x_t (fig. 7): one walk from noise, left at several t; the later, the less is left open."""
    model = model_of_images(run, device)
    sampler = model.sampler(steps=steps)
    wanted, found = spread_steps(sampler.reverse.schedule.num_steps, rows), []
    with bars() as bar:
        for latent in shared_latents(sampler, model.shape, wanted, num, seed):
            found.append(latent)
            bar("values of t", len(found), len(wanted))
    keep(shared_table(found), picture)
