"""A model from elsewhere becomes an ordinary run folder."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from nelbo.errors import ConfigurationError, NelboError, RunError
from nelbo.files import write_whole
from nelbo.interop.hub import Repository, download
from nelbo.interop.pipeline import FILES, Pipeline, read_pipeline
from nelbo.interop.scheduler_config import SchedulerConfig, chain_of
from nelbo.interop.settings import read_settings
from nelbo.interop.unet_config import image_shape, options_of
from nelbo.interop.weights import from_diffusers, swap_sines
from nelbo.networks import UNet
from nelbo.recipes import Recipe
from nelbo.runs import PLAN_FILE, DataOptions, RunConfig, load
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE, UNKNOWN_DATA
from nelbo.runs.run import save_model

RUN_FILES = (CONFIG_FILE, MODEL_FILE, PLAN_FILE)
LEVELS = 256  # of diffusers' pictures
ASSUMED = (
    "no scheduler_config.json came along: the paper's schedule is assumed (1000 steps, beta from 0.0001 to 0.02, noise "
    "prediction)"
)


@dataclass(frozen=True)
class Imported:
    """A run folder that was made, and what a person should know of it."""

    folder: Path
    notes: tuple[str, ...] = ()


def import_model(source: str | os.PathLike[str], out: str | os.PathLike[str], *, size: int | None = None) -> Imported:
    """Make a run folder of a model in diffusers' layout, or of a run, that lies in a folder or on the Hub.

    Args:
        source: a folder, or "hf:owner/name" (with "@revision" for another than the newest).
        out: the run folder to be, absent or empty.
        size: side of the images, where the model doesn't tell it, or another than it tells.

    Raises:
        NelboError: of many kinds, each saying what to change; nothing is written then.
    """
    folder = Path(out)
    refuse_taken(folder)
    if repository := Repository.named(source):
        place = download(repository, (*FILES, *RUN_FILES))
    else:
        place = Path(source)
        if not place.is_dir():
            raise RunError(f"{source} is no folder; expected one, or a repository of the Hub such as hf:owner/name.")
    if size is not None and is_run(place):
        raise ConfigurationError(f"{source} is a run folder, which tells the size of its images; leave --size out.")
    try:
        return _copy(place, folder) if is_run(place) else _convert(read_pipeline(place), folder, size)
    except NelboError as error:
        raise type(error)(f"{source} cannot be imported: {error}") from error


def refuse_taken(folder: Path) -> None:
    """Check that a folder is absent or empty.

    Raises:
        RunError: it is not.
    """
    if folder.is_file() or (folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())):
        raise RunError(f"{folder} is not empty; choose another --out.")


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""

    def copy(place: Path) -> None:
        shutil.copyfile(source, place)

    write_whole(target, copy)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run of nelbo's; diffusers' files name their class."""
    path = folder / CONFIG_FILE
    return path.is_file() and "network" in (plain := read_settings(path)) and "_class_name" not in plain


def _copy(place: Path, folder: Path) -> Imported:
    """A run as it is, once it was seen to open."""
    load(place, device="cpu")
    for name in RUN_FILES:
        if (place / name).is_file():
            copy_whole(place / name, folder / name)
    return Imported(folder)


def _convert(pipeline: Pipeline, folder: Path, size: int | None) -> Imported:
    """A run with the same predictions as a pipeline."""
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
    notes = chain.notes if pipeline.scheduler else (ASSUMED, *chain.notes)
    if size is not None and pipeline.unet.sample_size not in (None, size):
        notes = (*notes, f"the model says that its images have a side of {pipeline.unet.sample_size}, and not {size}")
    return Imported(folder, notes)
