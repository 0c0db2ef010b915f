"""A training run from start to finish: data, recipe, folder, training, finished model."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import torch

from nelbo.data import Images, Split, absolute_spec, taken_by
from nelbo.errors import SETTING, ConfigurationError, RunError, option, setting, shown
from nelbo.files import alone_in, remove_parts
from nelbo.options import check_type, options_from
from nelbo.paths import check_folder, expanded
from nelbo.randomness import INITIALISATION, chosen_seed, derived_seed
from nelbo.recipes import presets
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import build_objective, fit_to_data, learned_tensors
from nelbo.recipes.fitting import fit_refinement
from nelbo.recipes.latent_recipe import LatentRecipe
from nelbo.recipes.recipe import AnyRecipe, Recipe
from nelbo.refinement import coarse_split
from nelbo.runs.data_options import DataOptions
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE, RunConfig, read_config, refuse_differences
from nelbo.runs.loading import load
from nelbo.runs.run import Run
from nelbo.studies.autoencoder import adopted, second_stage
from nelbo.studies.data_request import DataRequest
from nelbo.studies.decoder import train_decoder
from nelbo.studies.listener import Listener, listening
from nelbo.studies.refinement import train_refinement
from nelbo.studies.run_data import described, read_split, request_of
from nelbo.studies.session import Session
from nelbo.training import STATE_FILE, Processes, Trainer, is_first_process, tensorboard_log

BUDGET = {"training.steps", "training.minutes"}


def train(
    data: str | os.PathLike[str] | DataRequest | Images | Split | None,
    out: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | Literal["recipe"] | None = "recipe",
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    pictures: bool = True,
    progress: bool = False,
    listener: Listener | None = None,
    **reading: Any,
) -> Run:
    """Train a model on `data` into the run folder `out`, or resume the run in that folder.

    Args:
        data: a built-in name or a path (see `nelbo.data.load_data`); images in memory: an array, a tensor, a list of
            images of any kind, a data set or a `Split`; a `DataRequest`; or None to resume the run in `out` with its
            own data and recipe. The run folder stores a fingerprint of images in memory, not the images.
        out: the run folder.
        minutes: the budget, like the override "training.minutes".
        steps: the budget, like the override "training.steps".
        seed: a whole number, like the override "training.seed"; by default that of the recipe, 0 in every preset. None
            draws a fresh seed for a new run and reports it; config.json stores it.
        preset: name of a recipe; None chooses it by the data.
        overrides: settings of the recipe by dotted name, such as {"training.minutes": 10}. A budget given here replaces
            the preset's budget, of either kind.
        tensorboard: also write the metrics to the folder's `tensorboard`; needs the extra nelbo[tensorboard].
        pictures: draw samples and other pictures of the finished model into the folder.
        progress: show progress bars.
        listener: receives the progress, instead of bars.
        reading: fields of `DataRequest` that say how to read `data`, such as size=32.

    Returns:
        The trained run. If training was not stopped by a signal, a diffusion model is calibrated and the folder holds
        its pictures.

    Raises:
        NelboError: of several kinds; each message says what to change.
    """
    Processes.here().meet()
    folder = expanded(out, "out")
    _check_arguments(seed, overrides, listener, minutes=minutes, steps=steps, preset=preset)
    check_type("tensorboard", tensorboard, bool)
    check_type("pictures", pictures, bool)
    if is_first_process():
        check_folder(folder)
    request, name, recipe = _wanted(_requested(data, reading), folder, preset)
    _refuse_contradictions(overrides or {}, minutes=minutes, steps=steps, seed=seed)
    given = {"training.minutes": minutes, "training.steps": steps, "training.seed": _seed_for(folder, seed)}
    given = {name: value for name, value in given.items() if value is not None}
    recipe = recipe.with_overrides(with_one_budget({**(overrides or {}), **given}))
    with listening(listener, progress) as heard:
        split = read_split(request, workers=recipe.training.workers, seed=recipe.training.seed, listener=heard)
        data_options = described(request, split)
        recipe = adopted(_as_begun(recipe, folder, data_options))
        options = data_options.shape, data_options.class_counts, data_options.levels, taken_by(split.train)
        recipe = fit_refinement(fit_to_data(recipe, *options), data_options.num_levels)
        config = RunConfig(recipe, data_options, name)
        _refuse_other_run(folder, config)
        with alone_in(folder) if is_first_process() else nullcontext():
            return _trained(Session(folder, config, split, heard, pictures), tensorboard)


def _check_arguments(seed: object, overrides: object, listener: object, **others: object) -> None:
    """Check the types of the arguments of `train`; the recipe checks the values.

    Raises:
        ConfigurationError: a value of another type.
    """
    for name, hint in (("minutes", float | None), ("steps", int | None), ("preset", str | None)):
        check_type(name, others[name], hint)
    if seed is not None and not (isinstance(seed, str) and seed == "recipe"):
        check_type(f"{SETTING}training.seed", seed, int)
    if overrides is not None and not (
        isinstance(overrides, Mapping) and all(isinstance(name, str) for name in overrides)
    ):
        raise ConfigurationError(
            f"{option('overrides')} is {shown(overrides)}; expected settings by dotted name, such as "
            "{'training.minutes': 10}."
        )
    if listener is not None and not isinstance(listener, Listener):
        raise ConfigurationError(f"{option('listener')} is {shown(listener)}; expected a `nelbo.studies.Listener`.")


def _refuse_contradictions(
    overrides: Mapping[str, Any], *, minutes: float | None, steps: int | None, seed: int | Literal["recipe"] | None
) -> None:
    """Check that no override has another value than the argument for the same setting.

    Raises:
        ConfigurationError: one has.
    """
    arguments: dict[str, Any] = {"minutes": minutes, "steps": steps}
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in (given if seed == "recipe" else {**given, "seed": seed}).items():
        if (full := f"training.{name}") not in overrides:
            continue
        other = overrides[full]
        plain = other is None or isinstance(other, str | Real)
        if not plain or other != value:
            given_there = str(other) if plain else shown(other)
            raise ConfigurationError(
                f"{option(name, str(value))} and the override {setting(full, given_there)} contradict each other; give "
                "one of them."
            )


def _seed_for(folder: Path, seed: int | Literal["recipe"] | None) -> int | None:
    """Return the seed to set in the recipe, or None to keep the recipe's.

    A fresh seed is drawn for a new run only: a run that resumes keeps its own. All processes get the same.
    """
    if seed is not None:
        return None if seed == "recipe" else seed
    if (folder / CONFIG_FILE).exists():
        return read_config(folder).recipe.training.seed
    drawn = {0: chosen_seed(None)} if is_first_process() else {}
    return Processes.here().union(drawn)[0]


def _trained(session: Session, tensorboard: bool) -> Run:
    """Build the network, train it, and finish the run."""
    folder, listener = session.folder, session.listener
    images = coarse_split(session.split).train
    recipe = session.config.recipe
    training = recipe.network_training
    torch.manual_seed(derived_seed(recipe.training.seed, INITIALISATION))
    # gradients arrive in this memory format; weights in another one cost a copy, a fortieth of a step
    network = build_network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective, latent = build_objective(recipe, images.levels), isinstance(recipe, LatentRecipe)
    session.learned = partial(learned_tensors, objective)
    if latent:
        objective, images, training = second_stage(session, objective)
    trainer = Trainer(
        network,
        objective,
        images,
        training,
        folder,
        on_preview=session.preview,
        on_save=session.save,
        on_record=tensorboard_log(folder / "tensorboard") if tensorboard and is_first_process() else None,
        on_progress=listener.on_step,
    )
    if trainer.accelerator.is_main_process:
        remove_parts(folder)
        if not latent:  # its first stage began the session
            session.begin(trainer.state.step, trainer.budget.spent_by)
    trainer.run()
    stopped, step, wait = trainer.stopped_by, trainer.state.step, trainer.accelerator.wait_for_everyone
    if stopped is None and trainer.accelerator.is_main_process:
        session.prepare(step)
    wait()
    if stopped is None and isinstance(run := load(folder), DiffusionRun):
        stopped = train_decoder(run, images.at_random(), step, listener)
        stopped = stopped or train_refinement(run, session.split.train, listener)
    if trainer.accelerator.is_main_process:
        if stopped is not None:
            listener.on_stop(stopped, step)
        session.finish(stopped)
    wait()
    return load(folder)


def with_one_budget(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides so that a budget among them replaces the preset's budget, of either kind."""
    if BUDGET & overrides.keys():
        return {**overrides} | {name: None for name in BUDGET - overrides.keys()}
    return dict(overrides)


def _requested(
    data: str | os.PathLike[str] | DataRequest | Images | Split | None, reading: Mapping[str, Any]
) -> DataRequest | None:
    """Return the request for a name, a path or images, and the options of reading them.

    Raises:
        ConfigurationError: an unknown option, or options without data.
    """
    if data is None or isinstance(data, DataRequest):
        if reading:
            raise ConfigurationError(
                f"give {option('data')} as a name, a path or images, or leave out {', '.join(map(option, reading))}."
            )
        return data
    spec = os.fspath(data) if isinstance(data, str | os.PathLike) else data
    return options_from(DataRequest, {**reading, "spec": spec})


def _wanted(data: DataRequest | None, folder: Path, name: str | None) -> tuple[DataRequest, str, AnyRecipe]:
    """Return the data, the preset and the recipe: as given, or those of the run in the folder.

    Those of the run are taken if no data is given, or images in memory and no preset: it resumes with images only.
    """
    if data is None:
        if not (folder / CONFIG_FILE).exists():
            raise RunError(f"{folder} holds no run to resume; set {option('data')} to the images to train on.")
        config = read_config(folder)
        if name not in (None, config.preset):
            raise ConfigurationError(
                f"{folder} was started with {option('preset', config.preset)}, not {name}; leave {option('preset')} "
                "out to resume it."
            )
        if config.data.in_memory:
            raise RunError(
                f"{folder} was trained on images that were given in memory and are not stored; resume it in Python "
                f"with the same images: `nelbo.train(images, {str(folder)!r})`."
            )
        return request_of(config), config.preset, config.recipe
    named = isinstance(data.spec, str)
    if not named and name is None and (folder / CONFIG_FILE).exists():
        config = read_config(folder)
        if config.data.in_memory:
            return data, config.preset, config.recipe
    name = name or presets.default_preset(data.spec if named else "")
    return data, name, presets.preset(name)


def _as_begun(recipe: AnyRecipe, folder: Path, data: DataOptions) -> AnyRecipe:
    """Return the recipe with the stored `conditional` if it is None and the folder holds a run on the same data.

    An earlier version trained without classes by default, and its runs must resume.
    """
    if not isinstance(recipe, Recipe) or recipe.conditional is not None or not (folder / CONFIG_FILE).exists():
        return recipe
    stored = read_config(folder)
    if not isinstance(stored.recipe, Recipe) or absolute_spec(stored.data.spec) != data.spec:
        return recipe
    return replace(recipe, conditional=stored.recipe.conditional)


def _refuse_other_run(folder: Path, config: RunConfig) -> None:
    """Check that the folder is empty or holds an earlier part of this run.

    Raises:
        RunError: it holds something else or another run, or its training state is missing.
    """
    if (folder / CONFIG_FILE).exists():
        refuse_differences(folder, read_config(folder), config)
        if (folder / MODEL_FILE).exists() and not (folder / STATE_FILE).exists():
            raise RunError(
                f"{folder} holds a trained model, but {STATE_FILE}, from which training resumes, is missing; restore "
                f"it from a copy, or set {option('out')} to another folder."
            )
    elif folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunError(
            f"{folder} is not empty and is not a run folder ({CONFIG_FILE} is missing); set {option('out')} to "
            "another folder."
        )
