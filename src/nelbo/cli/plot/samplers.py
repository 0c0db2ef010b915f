"""`nelbo plot samplers`."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from nelbo.cli.console import bars
from nelbo.cli.options import DeviceOption
from nelbo.cli.plot.common import OutOption, RunArgument, SeedOption, keep, model_of_images
from nelbo.errors import ConfigurationError
from nelbo.options import known
from nelbo.plots import samplers_table
from nelbo.probability import levels_to_data
from nelbo.samplers import SAMPLERS

TWO, FEW = ["ancestral", "dpm-solver++"], [5, 10, 20, 50]


def samplers(
    run: RunArgument,
    picture: OutOption = Path("samplers.png"),
    sampler: Annotated[list[str], typer.Option(help="A row of images; give several.")] = TWO,
    calls: Annotated[list[int], typer.Option(min=1, help="A column of at most so many calls; give several.")] = FEW,
    num: Annotated[int, typer.Option(min=1, help="Rows of each sampler: seeds that all columns share.")] = 3,
    spacing: Annotated[str | None, typer.Option(help="How steps are spread; see `nelbo sample`.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """The same seeds by several samplers in few and in many network calls."""
    model = model_of_images(run, device)
    kinds = {name: SAMPLERS[known(name, SAMPLERS, "sampler")] for name in sampler}
    found: dict[str, torch.Tensor] = {}
    with bars() as bar:
        for row, (name, kind) in enumerate(kinds.items()):
            drawn = []
            most = kind.calls_for(model.schedule.num_steps)
            for column, budget in enumerate(calls):
                if budget > most:
                    raise ConfigurationError(f"--calls {budget}: {name} has at most {most} here; ask for fewer.")
                steps = kind.steps_for(budget)
                drawn.append(model.sample(num, sampler=name, steps=steps, spacing=spacing, seed=seed, batch_size=num))
                bar("samplers", row * len(calls) + column + 1, len(kinds) * len(calls))
            found[name] = levels_to_data(torch.stack(drawn, 1), model.levels)
    keep(samplers_table(found, calls), picture)
