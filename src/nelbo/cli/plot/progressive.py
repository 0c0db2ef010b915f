"""`nelbo plot progressive`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption, StepsOption
from nelbo.cli.plot.common import (
    AnimateOption,
    RunArgument,
    SeedOption,
    default_path,
    keep,
    model_of_images,
)
from nelbo.plots import animate_images, evenly, trajectory_strip
from nelbo.samplers import Step


def progressive(
    run: RunArgument,
    picture: Annotated[Path | None, typer.Option("--out", help="The picture; progressive.png if absent.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Images, two rows each.")] = 4,
    columns: Annotated[
        int | None, typer.Option(min=2, help="Moments, evenly spread over the walk: 11, or 50 where it moves.")
    ] = None,
    steps: StepsOption = None,
    animate: AnimateOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Images coming into being (fig. 6): x_t above, and xhat_0 that the network sees in it below."""
    path = default_path(picture, "progressive", animate)
    model = model_of_images(run, device)
    total = steps or model.schedule.num_steps
    columns, kept = columns or (50 if animate else 11), []
    times, moments = model.reverse(steps=steps).schedule.timesteps, set(evenly(total + 1, columns))
    with bars() as bar:
        for done, step in enumerate(model.trajectory(num, steps=steps, seed=seed)):
            if done in moments:
                kept.append(Step(int(times[step.t]), step.x_t.cpu(), step.x_0.cpu()))
            bar("network calls", min(done + 1, total), total)
    if animate:
        pairs = [(f"t = {step.t}: x_t above, xhat_0 below", torch.cat([step.x_t, step.x_0])) for step in kept]
        keep(animate_images(pairs, num), path)
    else:
        keep(trajectory_strip(kept, columns, num), path)
