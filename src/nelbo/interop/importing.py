"""Import a model in diffusers' layout, or a run, into a run folder."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from nelbo.errors import ConfigurationError, NelboError, RunError, option, setting
from nelbo.files import whole_folder, write_whole
from nelbo.interop.autoencoder_folder import NO_SCALES, home_of, read_autoencoder
from nelbo.interop.hub import Repository, download
from nelbo.interop.pipeline import FILES, OTHER_FILES, Pipeline, read_pipeline
from nelbo.interop.scheduler_config import SchedulerConfig, chain_of
from nelbo.interop.settings import read_settings
from nelbo.interop.unet_config import image_shape, options_of
from nelbo.interop.weight_files import WEIGHTS
from nelbo.interop.weights import from_diffusers, swap_sines
from nelbo.networks import UNet
from nelbo.paths import check_folder, expanded
from nelbo.recipes import Recipe
from nelbo.runs import INTEGER_FILE, PLAN_FILE, DataOptions, RunConfig, load
from nelbo.runs.data_options import UNKNOWN_DATA
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE
from nelbo.runs.latent_space import AUTOENCODER_FILE, save_space
from nelbo.runs.run import save_model

RUN_FILES = (CONFIG_FILE, MODEL_FILE, PLAN_FILE, INTEGER_FILE, AUTOENCODER_FILE)
LEVELS = 256  # of the images that diffusers models
ASSUMED = (
    "there is no scheduler_config.json: the paper's schedule is assumed (1000 steps, beta from 0.0001 to 0.02, noise "
    "prediction)"
)


@dataclass(frozen=True)
class Imported:
    """An imported model.

    Attributes:
        folder: the new run folder.
        marked: the notes with their options still marked, to print them with flags (see `nelbo.errors.option`).
    """

    folder: Path
    marked: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the import changed, assumed or left out, one sentence each."""
        return tuple(str(NelboError(note)) for note in self.marked)


def import_model(source: str | os.PathLike[str], out: str | os.PathLike[str], *, size: int | None = None) -> Imported:
    """Make a run folder from a model in diffusers' layout, or from a run, in a folder or on the Hub.

    An `AutoencoderKL` becomes a folder that `first_stage.source` of a latent diffusion model can name.

    Args:
        source: a folder, or "hf:owner/name", or "hf:owner/name@revision" for a revision other than the newest.
        out: the run folder to make, absent or empty.
        size: image side in pixels, if the model does not state it or if it should differ.

    Raises:
        ConfigurationError: a kind of model or a setting that nelbo does not support, or a wrong `size`.
        RunError: a file is missing or damaged, `out` is not empty, or the Hub is unreachable.
        ScheduleError, ShapeError, NonFiniteError: an invalid schedule, size or weight. A model that is refused leaves
            no files in `out`.
    """
    folder = expanded(out)
    refuse_taken(folder)
    if repository := Repository.named(source):
        place = download(repository, (*FILES, *RUN_FILES))
        if not is_run(place) and not any(place.rglob(WEIGHTS)):
            place = download(repository, (*FILES, *OTHER_FILES))
    else:
        place = expanded(source)
        if not os.path.isdir(place):
            raise RunError(
                f"{source} is not a folder; expected a folder, or a repository on the Hub such as hf:owner/name."
            )
    if size is not None and is_run(place):
        raise ConfigurationError(
            f"{source} is a run folder, which states the size of its images; leave {option('size')} out."
        )
    try:
        with whole_folder(folder) as part:
            if is_run(place):
                notes = _copy(place, part)
            elif home := home_of(place):
                notes = _take_autoencoder(home, part)
            else:
                notes = _convert(read_pipeline(place), part, size)
        return Imported(folder, notes)
    except NelboError as error:
        raise type(error)(f"{source} cannot be imported: {error.marked}") from error


def refuse_taken(folder: Path) -> None:
    """Check that a folder is absent or empty, and can be written.

    Raises:
        RunError: the folder holds a file, is one itself, or cannot be written.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    if any(not name.startswith(".") for name in names):
        raise RunError(f"{folder} is not empty; choose another {option('out')}.")
    check_folder(folder)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""

    def copy(place: Path) -> None:
        shutil.copyfile(source, place)

    write_whole(target, copy)


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run; unlike a run's config.json, that of diffusers names a class."""
    path = folder / CONFIG_FILE
    return os.path.isfile(path) and "network" in (plain := read_settings(path)) and "_class_name" not in plain


def _copy(place: Path, folder: Path) -> tuple[str, ...]:
    """Copy a run unchanged, after checking that it loads."""
    load(place, device="cpu")
    for name in RUN_FILES:
        if (place / name).is_file():
            copy_whole(place / name, folder / name)
    return ()


def _take_autoencoder(home: Path, folder: Path) -> tuple[str, ...]:
    """Write the autoencoder of a folder, for the first stage of a latent diffusion model."""
    save_space(read_autoencoder(home), folder)
    return (NO_SCALES, f"train on its latents with {setting('first_stage.source', 'THIS FOLDER')}")


def _convert(pipeline: Pipeline, folder: Path, size: int | None) -> tuple[str, ...]:
    """Write a run that makes the same predictions as a pipeline, and return what was changed or assumed."""
    options, shape = options_of(pipeline.unet), image_shape(pipeline.unet, size)
    chain = chain_of(pipeline.scheduler or SchedulerConfig(), options.learned_variance)
    recipe = Recipe(
        schedule=chain.schedule,
        network=options,
        parameterization=chain.parameterization,
        variance=chain.variance,
        loss="hybrid" if options.learned_variance else "simple",
    )
    data = DataOptions(UNKNOWN_DATA, shape, LEVELS, num_train=0, num_held_out=0)
    with torch.device("meta"):
        network = UNet(options)
    weights = from_diffusers(network, pipeline.weights)
    if pipeline.unet.flip_sin_to_cos:
        weights = swap_sines(weights)
    network.load_state_dict(weights, assign=True)
    save_model(folder, network, {})
    RunConfig(recipe, data, "imported").save(folder)
    notes = (*pipeline.notes, *(() if pipeline.scheduler else (ASSUMED,)), *chain.notes)
    if size is not None and pipeline.unet.sample_size not in (None, size):
        notes = (*notes, f"the model states a side of {pipeline.unet.sample_size} for its images, not {size}")
    return notes
