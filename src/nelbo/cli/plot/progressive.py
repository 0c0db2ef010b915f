"""`nelbo plot progressive`: samples on their way from noise to image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption, RunArgument, SeedOption
from nelbo.cli.plot.common import AnimateOption, ChainStepsOption, figure_path, keep, model_of_images

if TYPE_CHECKING:
    from nelbo.runs import DiffusionRun
    from nelbo.samplers import Step


def progressive(
    run: RunArgument,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output file (.png, .pdf or .svg); by default progressive.png, or progressive.gif with --animate.",
        ),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Number of images, two rows each.")] = 4,
    columns: Annotated[
        int | None,
        typer.Option(min=2, help="Number of time steps shown, evenly spaced; 11 by default, 50 for an animation."),
    ] = None,
    steps: ChainStepsOption = None,
    animate: AnimateOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Plot Algorithm 2, the reverse process (fig. 6): the noisy image x_t and, below it, the predicted image."""
    path = figure_path(picture, "progressive", animate=animate, run=run)
    import torch

    from nelbo.plots import animate_images, trajectory_strip

    model = model_of_images(run, device)
    columns = columns or (50 if animate else 11)
    kept = _trajectory(model, num, steps, columns, seed)
    if animate:
        pairs = [(f"t = {step.t}: x_t above, xhat_0 below", torch.cat([step.x_t, step.x_0])) for step in kept]
        keep(animate_images(pairs, num), path)
    else:
        keep(trajectory_strip(kept, columns, num), path)


def _trajectory(model: DiffusionRun, num: int, steps: int | None, columns: int, seed: int) -> list[Step]:
    """Sample by Algorithm 2, and return `columns` steps of the chain on the CPU."""
    from nelbo.plots import evenly
    from nelbo.samplers import Step

    total = steps or model.schedule.num_steps
    moments = set(evenly(total + 1, columns))
    kept: list[Step] = []
    with bars() as bar:
        for done, step in enumerate(model.trajectory(num, sampler="ancestral", steps=steps, seed=seed)):
            if done in moments:
                kept.append(Step(step.t, step.x_t.cpu(), step.x_0.cpu()))
            bar("network calls", min(done + 1, total), total)
    return kept
