"""A training run from end to end: data, recipe, folder, previews, calibration, pictures."""

import math
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nelbo.data import ImageDataset, Split, absolute_spec, load_data
from nelbo.errors import ConfigurationError, DataError, RunError
from nelbo.files import alone_in, remove_parts
from nelbo.plots import bound_curve, loss_curve, picture_of, save
from nelbo.randomness import INITIALISATION, derived_seed
from nelbo.recipes import presets
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import build_objective, fit_to_data
from nelbo.recipes.recipe import AnyRecipe
from nelbo.runs.folder import (
    CONFIG_FILE,
    MODEL_FILE,
    UNKNOWN_DATA,
    DataOptions,
    RunConfig,
    read_config,
    refuse_differences,
)
from nelbo.runs.loading import load, run_of
from nelbo.runs.run import Run, save_model
from nelbo.studies.pictures import show_run
from nelbo.training import (
    METRICS_FILE,
    STATE_FILE,
    MetricsLog,
    Processes,
    Progress,
    Trainer,
    is_first_process,
    tensorboard_log,
)

BUDGET = {"training.steps", "training.minutes"}
PREVIEW_IMAGES, HELD_OUT_IMAGES = 16, 128
LARGEST_SIDE = 256  # of images that are trained on as they are: the preset lsun256's; larger ones need a --size


@dataclass
class Listener:
    """What the caller wants to hear of: each is optional.

    Attributes:
        on_config: the resolved configuration and the data, before training begins.
        on_step: after each optimizer step.
        on_record: each preview's line of the metrics.
        on_stage: (name, done, total) of the stages around training: reading, calibrating, scoring, sampling.
        on_stop: the signal that ended training before its budget was spent, and the step.
    """

    on_config: Callable[[RunConfig, Split, int], None] = lambda config, split, step: None
    on_step: Callable[[Progress], None] = lambda progress: None
    on_record: Callable[[dict[str, Any]], None] = lambda record: None
    on_stage: Callable[[str, int, int], None] = lambda name, done, total: None
    on_stop: Callable[[str, int], None] = lambda name, step: None


@dataclass(frozen=True)
class DataRequest:
    """What to train on and how to read it; see `nelbo.data.load_data`."""

    spec: str
    size: int | None = None
    mode: str | None = None
    held_out: float | None = None
    on_reject: str = "skip"


def train(
    data: str | DataRequest | None,
    out: str | os.PathLike[str],
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Train a model on `data` into the run folder `out`, or go on with the run that is there.

    Args:
        data: a name or path (`nelbo.data.load_data`), a `DataRequest` with how to read it, or None to go on with the
            run in `out` as it was begun.
        out: the run folder.
        preset: a recipe by name; by default the data's own, or "images".
        overrides: settings of the recipe by dotted name, such as {"training.minutes": 10}, which replaces the preset's
            budget of either kind.
        tensorboard: also write the metrics to the folder's `tensorboard` (the extra nelbo[tensorboard]).
        listener: progress.

    Returns:
        The finished run, a diffusion model's calibrated, with its pictures in the folder.

    Raises:
        NelboError: of many kinds, each saying what to change.
    """
    Processes.here().meet()
    listener = listener or Listener()
    folder = Path(out)
    request, name, recipe = _wanted(data, folder, preset)
    recipe = recipe.with_overrides(with_one_budget(overrides or {}))
    split = _read(request, recipe.training.workers, recipe.training.seed, listener)
    recipe = fit_to_data(recipe, split.train.shape, len(split.train.class_names), split.train.levels)
    config = RunConfig(recipe, described(request, split), name)
    _refuse_other_run(folder, config)
    with alone_in(folder) if is_first_process() else nullcontext():
        return _trained(folder, config, split, tensorboard, listener)


def _trained(folder: Path, config: RunConfig, split: Split, tensorboard: bool, listener: Listener) -> Run:
    """Assemble, train, finish."""
    recipe, session = config.recipe, _Session(folder, config, split, listener)
    torch.manual_seed(derived_seed(recipe.training.seed, INITIALISATION))
    # the weights lie as their gradients come, which would be copied otherwise: a fortieth of a step
    network = build_network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = build_objective(recipe, split.train.levels)
    trainer = Trainer(
        network,
        objective,
        split.train,
        recipe.training,
        folder,
        on_preview=session.preview,
        on_save=session.save,
        on_record=tensorboard_log(folder / "tensorboard") if tensorboard and is_first_process() else None,
        on_progress=listener.on_step,
    )
    if trainer.accelerator.is_main_process:
        remove_parts(folder)
        config.save(folder)
        listener.on_config(config, split, trainer.state.step)
    trainer.run()
    if trainer.accelerator.is_main_process:
        if trainer.stopped_by is not None:
            listener.on_stop(trainer.stopped_by, trainer.state.step)
        session.finish(trainer.stopped_by)
    trainer.accelerator.wait_for_everyone()
    return load(folder)


@dataclass
class _Session:
    """The callbacks of one training session, and its last acts."""

    folder: Path
    config: RunConfig
    split: Split
    listener: Listener

    def preview(self, network: nn.Module, step: int) -> dict[str, Any]:
        """Draw a few images in few steps, and look at the held-out bound."""
        try:
            return self._preview(run_of(self.folder, self.config, network), step)
        finally:
            network.train()
            network.requires_grad_(True)

    def _preview(self, run: Run, step: int) -> dict[str, Any]:
        images = run.draft(PREVIEW_IMAGES, self.config.recipe.training.seed)
        save(picture_of(images, run.levels), self.folder / "samples" / f"step-{step:08d}.png")
        record: dict[str, Any] = {}
        held_out = self._held_out(HELD_OUT_IMAGES)
        if held_out is not None:
            report = run.glance(held_out)
            error = None if math.isnan(report.standard_error) else round(report.standard_error, 4)
            record = {"held_out_bits_per_dim": round(report.total, 4), "held_out_standard_error": error}
        self.draw_curves()
        self.listener.on_record({"step": step, **record})
        return record

    def save(self, network: nn.Module, step: int) -> None:
        """Keep the averaged weights beside the state, so that the folder can be used while training goes on."""
        save_model(self.folder, network, {})

    def finish(self, stopped_by: str | None) -> None:
        """Let the model measure itself, then draw what a person would want to see first; when stopped, just leave."""
        if stopped_by is None:
            run = load(self.folder)
            stage = self.listener.on_stage
            run.prepare(self.split.train, lambda done, total: stage("calibrating", done, total))
            show_run(run, self._held_out(4 * HELD_OUT_IMAGES), stage)
        self.draw_curves()

    def draw_curves(self) -> None:
        """Draw the loss and the held-out bound so far."""
        records = MetricsLog(self.folder / METRICS_FILE).records()
        if any("loss" in record for record in records):
            save(loss_curve([r for r in records if "loss" in r]), self.folder / "loss.png")
        bounds = [r for r in records if "held_out_bits_per_dim" in r]
        if bounds:
            save(bound_curve(bounds), self.folder / "bound.png")

    def _held_out(self, most: int) -> ImageDataset | None:
        return self.split.test.spread(most) if len(self.split.test) else None


def with_one_budget(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A budget given replaces the preset's, of whichever kind that was."""
    if BUDGET & overrides.keys():
        return {**overrides} | {name: None for name in BUDGET - overrides.keys()}
    return dict(overrides)


def _wanted(data: str | DataRequest | None, folder: Path, name: str | None) -> tuple[DataRequest, str, AnyRecipe]:
    """Data, preset and recipe: as given, or as the run in the folder was begun where no data is given."""
    if data is None:
        if not (folder / CONFIG_FILE).exists():
            raise RunError(f"{folder} holds no run to go on with; say what to train on by --data.")
        config = read_config(folder)
        if name not in (None, config.preset):
            raise ConfigurationError(
                f"{folder} was begun with --preset {config.preset}, not {name}; leave --preset out to go on with it."
            )
        return _request(config), config.preset, config.recipe
    request = DataRequest(data) if isinstance(data, str) else data
    name = name or presets.default_preset(request.spec)
    return request, name, presets.preset(name)


def _request(config: RunConfig) -> DataRequest:
    """How a run's data was read.

    Raises:
        DataError: the model came without its images.
    """
    data = config.data
    if data.spec == UNKNOWN_DATA:
        raise DataError("the model was imported without its images; name some by --data.")
    return DataRequest(data.spec, data.size, data.mode, data.held_out)


def _refuse_other_run(folder: Path, config: RunConfig) -> None:
    """Check that the folder is empty, or holds the beginning of this very run."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; --out needs a folder, or a name that is not taken.")
    if (folder / CONFIG_FILE).exists():
        refuse_differences(folder, read_config(folder), config)
        if (folder / MODEL_FILE).exists() and not (folder / STATE_FILE).exists():
            raise RunError(
                f"{folder} holds a trained model, but {STATE_FILE}, from which training would go on, is gone; restore "
                "it from a copy, or train into another folder by --out."
            )
    elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunError(f"{folder} is not empty and is no run folder ({CONFIG_FILE} is missing); choose another --out.")


def _read(request: DataRequest, workers: int | None, seed: int, listener: Listener) -> Split:
    return load_data(
        request.spec,
        size=request.size,
        mode=request.mode,  # type: ignore[arg-type]
        held_out=request.held_out,
        on_reject=request.on_reject,
        workers=workers,
        seed=seed,
        progress=lambda done, total: listener.on_stage("reading images", done, total),
        largest=LARGEST_SIDE,
    )


def described(request: DataRequest, split: Split) -> DataOptions:
    """What a run's configuration says of its data."""
    train_part = split.train
    return DataOptions(
        spec=absolute_spec(request.spec),
        size=request.size,
        mode=request.mode,
        held_out=request.held_out,
        shape=train_part.shape,
        levels=train_part.levels,
        num_train=len(train_part),
        num_held_out=len(split.test),
        class_names=train_part.class_names,
    )


def data_of(run: Run, listener: Listener | None = None) -> Split:
    """The data of a run in its two parts, read again from where it was.

    Raises:
        DataError: the data is gone, or is another number of images now, so that the parts cannot be told apart.
    """
    data, seed = run.config.data, run.config.recipe.training.seed
    try:
        split = _read(_request(run.config), None, seed, listener or Listener())
    except DataError as error:
        raise DataError(f"what {run.folder} was trained on cannot be read again: {error}") from error
    found, known = (len(split.train), len(split.test)), (data.num_train, data.num_held_out)
    if found != known:
        raise DataError(
            f"{data.spec} held {sum(known)} images when {run.folder} was trained and holds {sum(found)} now, so the "
            "held-out ones cannot be told from the others; name images that the model never saw by --data."
        )
    return split


def held_out_part(run: Run, request: DataRequest | None = None, listener: Listener | None = None) -> ImageDataset:
    """The images that a run held out, read again from where its data was; or those of another request.

    Raises:
        DataError: the data is gone or is another number of images now, or nothing is held out of it.
    """
    if request is None:
        return data_of(run, listener).require_test()
    return _read(request, None, run.config.recipe.training.seed, listener or Listener()).require_test()
