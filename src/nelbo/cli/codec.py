"""`nelbo codec`: measure once what a run needs to compress."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import bars, err, out
from nelbo.cli.options import DeviceOption
from nelbo.codec import FittingOptions
from nelbo.errors import ConfigurationError
from nelbo.runs import PLAN_FILE, DiffusionRun, bundled_models, fit_codec, load_as
from nelbo.studies import Listener, data_of


def codec(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps of the lossless end's network; 8000 if absent.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Training images to learn it from; 16384 if absent.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Replace what was measured: older files cannot be read then.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    device: DeviceOption = None,
) -> None:
    """Measure on a run's training images what `nelbo compress` needs: which steps to send, and the tables of the rest.

    It takes ten to sixty minutes on two cores, is kept in the run's folder (codec.safetensors) and becomes a part of
    the model: a receiver needs the folder with it.
    """
    model = load_as(DiffusionRun, run, device=device)
    plan_file = model.folder / PLAN_FILE
    if model.folder in bundled_models().values():
        raise ConfigurationError(
            f"{run} is bundled, and everybody's files need its plan as it is; copy {model.folder} and measure the copy."
        )
    if plan_file.exists() and not again:
        raise ConfigurationError(
            f"{plan_file} is there already; --again would replace it, and what was compressed with it could not be "
            "read any more."
        )
    options = FittingOptions(seed=seed)
    options = replace(options, end_steps=steps or options.end_steps, end_images=images or options.end_images)
    with bars() as bar:
        data = data_of(model, Listener(on_stage=bar)).train
        plan = fit_codec(model, data, options, bar)
    kept = [int(t) for t in plan.steps]
    out.print(
        f"{run} is ready to compress: {len(kept) - 1} steps are sent, from t = {kept[-1]} to {kept[0]}; the rest is "
        "coded pixel by pixel",
        highlight=False,
    )
    err.print(f"kept in {plan_file}; try: nelbo compress IMAGE -m {Path(run)} -o IMAGE.nelbo", highlight=False)
