"""`nelbo plot forward`: images becoming noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DataOption, RunArgument, SeedOption
from nelbo.cli.plot.common import AnimateOption, figure_path, images_for, keep, model_of_images


def forward(
    run: RunArgument,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Output file (.png, .pdf or .svg); by default forward.png, or forward.gif with --animate."
        ),
    ] = None,
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Number of images, one per row.")] = 4,
    columns: Annotated[
        int | None,
        typer.Option(min=2, help="Number of time steps shown, evenly spaced; 11 by default, 50 for an animation."),
    ] = None,
    animate: AnimateOption = False,
    seed: SeedOption = 0,
) -> None:
    """Plot the forward process: noisy images x_t (eq. 4) at increasing time steps t, with the same noise at each t."""
    path = figure_path(picture, "forward", animate=animate, run=run, inputs=[data])
    import torch

    from nelbo.diffusion import ForwardProcess
    from nelbo.plots import animate_images, evenly, forward_strip
    from nelbo.probability import levels_to_data
    from nelbo.randomness import plain_generator, standard_normal

    model = model_of_images(run, "cpu")
    with bars() as bar:
        images = images_for(model, data, num, bar)
    x_0 = levels_to_data(images.images(torch.arange(len(images))), model.levels)
    noise = standard_normal(x_0.shape, plain_generator(seed), x_0)
    times = evenly(model.schedule.num_steps + 1, columns or (50 if animate else 11))
    process = ForwardProcess(model.schedule)
    noisy = [x_0 if t == 0 else process.sample(x_0, torch.full((len(x_0),), t), noise) for t in times]
    if animate:
        keep(animate_images([(f"t = {t}", x_t) for t, x_t in zip(times, noisy, strict=True)], len(x_0)), path)
    else:
        keep(forward_strip(times, noisy), path)
