"""`nelbo plot samplers`: the same seeds by several samplers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption, RunArgument, SeedOption, SpacingOption
from nelbo.cli.plot.common import OutOption, figure_path, keep, model_of_images
from nelbo.errors import ConfigurationError
from nelbo.options import known
from nelbo.samplers.names import SAMPLER_NAMES

if TYPE_CHECKING:
    import torch

    from nelbo.runs import DiffusionRun

TWO, FEW = ["ancestral", "dpm-solver++"], [5, 10, 20, 50]


def samplers(
    run: RunArgument,
    picture: OutOption = Path("samplers.png"),
    sampler: Annotated[
        list[str], typer.Option(help=f"Sampler, one per group of rows; repeatable. One of {', '.join(SAMPLER_NAMES)}.")
    ] = TWO,
    calls: Annotated[
        list[int], typer.Option(min=1, help="Maximum number of network calls, one per column; repeatable.")
    ] = FEW,
    num: Annotated[int, typer.Option(min=1, help="Number of seeds (rows) per sampler.")] = 3,
    spacing: SpacingOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Compare samplers: samples from the same seeds, for several numbers of network calls."""
    for name in sampler:
        known(name, SAMPLER_NAMES, "sampler")
    path = figure_path(picture, run=run)
    from nelbo.plots import samplers_table

    model = model_of_images(run, device)
    keep(samplers_table(_images(model, sampler, calls, num, spacing, seed), calls), path)


def _images(
    model: DiffusionRun, names: list[str], calls: list[int], num: int, spacing: str | None, seed: int
) -> dict[str, torch.Tensor]:
    """Sample with each number of network calls. Returns data (num, len(calls), C, H, W) in [-1, 1] by sampler.

    Raises:
        ConfigurationError: more network calls than a sampler can use.
    """
    import torch

    from nelbo.probability import levels_to_data
    from nelbo.samplers import SAMPLERS

    found: dict[str, torch.Tensor] = {}
    with bars() as bar:
        for row, name in enumerate(dict.fromkeys(names)):
            kind, drawn = SAMPLERS[name], []
            most = kind.calls_for(model.schedule.num_steps)
            for column, budget in enumerate(calls, 1):
                if budget > most:
                    raise ConfigurationError(f"--calls {budget}: {name} has at most {most} here; choose fewer.")
                steps = kind.steps_for(budget)
                drawn.append(model.sample(num, sampler=name, steps=steps, spacing=spacing, seed=seed, batch_size=num))
                bar("samplers", row * len(calls) + column, len(set(names)) * len(calls))
            found[name] = levels_to_data(torch.stack(drawn, 1), model.levels)
    return found
