"""`nelbo codec`: measure the codec plan that a run needs in order to compress."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars, say, show
from nelbo.cli.options import DeviceOption, SeedOption
from nelbo.codec.options import FittingOptions
from nelbo.errors import ConfigurationError
from nelbo.options import help_of

if TYPE_CHECKING:
    from nelbo.runs import DiffusionRun
    from nelbo.studies.integer_training import IntegerOptions

FITTING = FittingOptions()
MINUTES = 30.0  # of training for the integer model
SENT_IMAGES = 128  # on which the channel of the integer model is measured


def codec(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    steps: Annotated[int, typer.Option(min=1, help=help_of(FittingOptions, "end_steps"))] = FITTING.end_steps,
    images: Annotated[int, typer.Option(min=1, help=help_of(FittingOptions, "end_images"))] = FITTING.end_images,
    integers: Annotated[
        bool,
        typer.Option(
            "--integers",
            help="Train an integer model instead, for --minutes. `nelbo pack` needs it, and `nelbo compress` uses it.",
        ),
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="With --integers: training time in minutes (default: 30).")
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Replace an existing codec.safetensors, or with --integers an integers.safetensors. Files made with "
            "the old one can no longer be decoded.",
        ),
    ] = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Prepare a run for `nelbo compress`, or with --integers also for `nelbo pack`.

    Without --integers, this chooses the steps to encode, and trains the network that encodes exact pixels.

    For a model with a decoder of pixels (presets fashion-mnist and images), this takes a few minutes on 2 cores. For
    other models, a network for the exact pixels is trained, which takes 10 to 60 minutes with the default options. The
    result is codec.safetensors in the run folder. To decompress, you need the run folder with this file.
    """
    from nelbo.data import Filled
    from nelbo.refinement import coarse
    from nelbo.runs import DiffusionRun, fit_codec, load_as
    from nelbo.studies import Listener, data_of
    from nelbo.studies.integer_training import IntegerOptions

    if minutes is not None and minutes <= 0:
        raise ConfigurationError(f"--minutes must be above 0, got {minutes:g}.")
    if minutes is not None and not integers:
        raise ConfigurationError("--minutes is the training time of the integer model; add --integers.")
    model = load_as(DiffusionRun, run, device=device)
    if integers:
        _train_integers(model, run, IntegerOptions(minutes=minutes or MINUTES, seed=seed), again)
        return
    plan_file = _plan_file(model, run, again)
    model.require_decoder()  # before the images are read
    options = FittingOptions(end_steps=steps, end_images=images, seed=seed)
    with bars() as bar:
        data = Filled(coarse(data_of(model, Listener(on_stage=bar)).train))
        plan = fit_codec(model, data, options, bar)
    kept = [int(t) for t in plan.steps]
    show(
        f"{run} can compress now: {len(kept) - 1} steps are sent, from t = {kept[-1]} to t = {kept[0]}; the rest is "
        "coded pixel by pixel"
    )
    say(f"the plan is in {plan_file}; try: nelbo compress IMAGE -m {Path(run)} -o IMAGE.nelbo")


def _train_integers(model: DiffusionRun, run: str, options: IntegerOptions, again: bool) -> None:
    """Train the integer model, or continue a training that was stopped."""
    from nelbo.codec.channel_fitting import fit_channel
    from nelbo.data import Filled
    from nelbo.paths import check_target
    from nelbo.refinement import coarse
    from nelbo.runs import bundled_models
    from nelbo.runs.integer_model import INTEGER_FILE, IntegerModel
    from nelbo.studies import Listener, data_of
    from nelbo.studies.integer_training import FOLDER, train_integer_model

    path = model.folder / INTEGER_FILE
    if model.folder in bundled_models().values():
        raise ConfigurationError(f"{run} is a bundled model; copy {model.folder} and train the copy's.")
    if path.exists() and not again:
        raise ConfigurationError(
            f"{path} already exists; --again replaces it, and files and archives made with it can then no longer be "
            "decoded."
        )
    check_target(path)
    with bars() as bar:
        listener = Listener(on_stage=bar)
        images = Filled(coarse(data_of(model, listener).train))
        trained = train_integer_model(images, model.folder / FOLDER, options, listener)
        if not isinstance(trained, str):
            sent = images.spread(min(SENT_IMAGES, len(images)))
            plan = fit_channel(trained, sent.images(range(len(sent))), options.seed, bar)
    if isinstance(trained, str):
        say(f"stopped by {trained}; the same command continues")
        raise typer.Exit(1)
    IntegerModel(trained, plan).save(model.folder)
    shutil.rmtree(model.folder / FOLDER, ignore_errors=True)  # so that --again trains anew
    show(f"{run} can pack and compress now: its integer model is in {path} ({path.stat().st_size:,} bytes)")
    say(f"try: nelbo pack FOLDER -m {Path(run)} -o photos.nelbos")


def _plan_file(model: DiffusionRun, run: str, again: bool) -> Path:
    """Return the path of the plan to write.

    Raises:
        ConfigurationError: the model is bundled, or has a plan that may not be replaced.
        RunError: the folder cannot be written.
    """
    from nelbo.paths import check_target
    from nelbo.runs import PLAN_FILE, bundled_models
    from nelbo.runs.codec_plan import is_stale

    plan_file = model.folder / PLAN_FILE
    if model.folder in bundled_models().values():
        raise ConfigurationError(
            f"{run} is a bundled model, and existing files depend on its plan; copy {model.folder} and measure the "
            "copy."
        )
    if plan_file.exists() and not again:
        if is_stale(model.folder):
            raise ConfigurationError(f"{plan_file} was measured for earlier weights; --again measures it for these.")
        raise ConfigurationError(
            f"{plan_file} already exists; --again replaces it, and files compressed with it can then no longer be "
            "decoded."
        )
    check_target(plan_file)
    return plan_file
