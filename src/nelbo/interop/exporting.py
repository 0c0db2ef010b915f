"""A run's model for other places: as diffusers has it, as a program, or as a run; into a folder or onto the Hub."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nelbo.data import absolute_spec
from nelbo.errors import ConfigurationError
from nelbo.files import write_text
from nelbo.interop import scheduler_config, unet_config
from nelbo.interop.hub import Repository, upload
from nelbo.interop.importing import LEVELS, RUN_FILES, copy_whole, refuse_taken
from nelbo.interop.pipeline import Pipeline, write_pipeline
from nelbo.interop.program import write_program
from nelbo.interop.scheduler_config import Chain, rounding_note
from nelbo.interop.weights import set_clock, to_diffusers
from nelbo.networks import UNet
from nelbo.options import known
from nelbo.runs import DiffusionRun, Run, RunConfig, load
from nelbo.runs.folder import UNKNOWN_DATA

CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """Where a model went, and what a person should know of it."""

    place: str
    notes: tuple[str, ...] = ()


def export_model(
    run: str | os.PathLike[str], out: str | os.PathLike[str], *, format: str, public: bool = False, api: Any = None
) -> Exported:
    """Write a run's model into a folder, or into a repository of the Hub.

    Args:
        run: a run folder, or a bundled model's name.
        out: a folder, absent or empty, or "hf:owner/name".
        format: "diffusers", a folder that `diffusers.DDPMPipeline.from_pretrained` reads; "torch", a program for
            `torch.export.load`; or "nelbo", the run without its training state.
        public: of a repository, see `nelbo.interop.hub.upload`.
        api: of a repository, too.

    Raises:
        NelboError: of many kinds, each saying what to change.
    """
    write = FORMATS[known(format, FORMATS, "format")]
    repository, model = Repository.named(out), load(run, device="cpu")
    if repository is None:
        if public:
            raise ConfigurationError(f"--public is for a repository such as hf:owner/name, and {out} is a folder.")
        refuse_taken(Path(out))
        return Exported(str(out), write(model, Path(out)))
    with tempfile.TemporaryDirectory() as place:
        notes = write(model, Path(place))
        write_text(Path(place) / CARD, card(model, repository, format))
        return Exported(upload(Path(place), repository, public=public, api=api), notes)


def export_diffusers(model: Run, folder: Path) -> tuple[str, ...]:
    """A pipeline of the same predictions; what was left behind.

    diffusers' step k is our t = k + 1, which the first map of the time embedding takes in.

    Raises:
        ConfigurationError: the model has what diffusers cannot express, by name.
    """
    network = _chain(model, "diffusers").network
    assert isinstance(model, DiffusionRun)
    if not isinstance(network, UNet):
        raise ConfigurationError(f"{model.folder} is no U-Net, and diffusers has no other network of pixels.")
    options, recipe = network.options, model.recipe
    chain = Chain(recipe.schedule, recipe.parameterization, recipe.variance)
    scheduler, unet = scheduler_config.config_of(chain), unet_config.config_of(options, model.shape)
    weights = set_clock(network.state_dict(), options, options.first_time)
    write_pipeline(folder, Pipeline(unet, to_diffusers(weights), scheduler))
    notes = list(rounding_note(recipe.schedule))
    if model.mse is not None:
        notes.append(f"the calibrated variance stays behind: diffusers samples with {scheduler.variance_type}")
    if model.levels != LEVELS:
        notes.append(f"diffusers' pictures have {LEVELS} levels, this model's {model.levels}")
    return tuple(notes)


def export_program(model: Run, folder: Path) -> tuple[str, ...]:
    """model.pt2 with program.json; how near it is.

    Raises:
        ConfigurationError: the model is no chain.
        RunError: the program differs from the model.
    """
    difference = write_program(_chain(model, "torch"), folder)
    return (f"the program's outputs are within {max(difference, 1e-9):.0e} of the model's, as a share of their scale",)


def export_run(model: Run, folder: Path) -> tuple[str, ...]:
    """The run's configuration, weights and codec plan, without where its images lay on this machine."""
    for name in RUN_FILES[1:]:
        if (model.folder / name).is_file():
            copy_whole(model.folder / name, folder / name)
    spec = model.config.data.spec
    built_in = absolute_spec(spec) == spec and not Path(spec).is_absolute()
    data = replace(model.config.data, spec=spec if built_in else UNKNOWN_DATA)
    RunConfig(model.config.recipe, data, model.config.preset).save(folder)
    return ()


FORMATS: dict[str, Callable[[Run, Path], tuple[str, ...]]] = {
    "diffusers": export_diffusers,
    "torch": export_program,
    "nelbo": export_run,
}


def card(model: Run, repository: Repository, format: str) -> str:
    """The README.md of a repository: what it holds and how it is opened."""
    channels, height, width = model.shape
    opened = {
        "diffusers": f'diffusers.DDPMPipeline.from_pretrained("{repository.name}")',
        "torch": 'torch.export.load("model.pt2").module()',
        "nelbo": f"nelbo import {repository} --out runs/{repository.name.split('/')[1]}",
    }[format]
    return (
        f"---\nlibrary_name: {format}\ntags: [diffusion, nelbo]\n---\n\n"
        f"# {repository.name.split('/')[1]}\n\n"
        f"Images of {width} x {height} in {channels} channel(s): {model.config.recipe.in_words}. Exported by nelbo.\n\n"
        f"```\n{opened}\n```\n"
    )


def _chain(model: Run, format: str) -> DiffusionRun:
    if not isinstance(model, DiffusionRun):
        raise ConfigurationError(
            f"{model.folder} is a variational autoencoder; only a diffusion model can be exported as {format}, and "
            "every run as nelbo."
        )
    return model
