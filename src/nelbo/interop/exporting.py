"""Export a run's model as a diffusers pipeline, as a program or as a run, into a folder or to the Hub."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nelbo.data import absolute_spec
from nelbo.errors import ConfigurationError, option
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
from nelbo.runs.codec_plan import PLAN_FILE, is_stale
from nelbo.runs.folder import UNKNOWN_DATA

CARD = "README.md"
NO_DECODER = "the pixel network of the decoder p(x_0|x_1) is not exported: the images end with its mean, xhat_0"
FENCE = 3 * "-"  # around the metadata of a card


@dataclass(frozen=True)
class Exported:
    """The place of an exported model, and what the export changed or left out.

    Attributes:
        place: the folder, or the address of the repository.
        notes: one sentence each.
    """

    place: str
    notes: tuple[str, ...] = ()


def export_model(
    run: str | os.PathLike[str], out: str | os.PathLike[str], *, format: str, public: bool = False, api: Any = None
) -> Exported:
    """Write a run's model into a folder, or into a repository on the Hub.

    Args:
        run: a run folder, or the name of a bundled model.
        out: a folder, absent or empty, or "hf:owner/name".
        format: "diffusers", a folder that `diffusers.DDPMPipeline.from_pretrained` reads; "torch", a program for
            `torch.export.load`; or "nelbo", the run without its training state.
        public: for a repository, see `nelbo.interop.hub.upload`.
        api: for a repository, see `nelbo.interop.hub.upload`.

    Raises:
        ConfigurationError: an unknown format, a model that the format does not support, or a wrong `out` or `public`.
        RunError: the run is damaged, `out` is not empty, the disk is full, or the Hub refuses the upload.
    """
    write = FORMATS[known(format, FORMATS, "format")]
    repository, model = Repository.named(out), load(run, device="cpu")
    if repository is None:
        if public:
            raise ConfigurationError(
                f"{option('public')} is for a repository such as hf:owner/name, but {out} is a folder; leave it out."
            )
        refuse_taken(Path(out))
        return Exported(str(out), write(model, Path(out)))
    with tempfile.TemporaryDirectory() as place:
        notes = write(model, Path(place))
        write_text(Path(place) / CARD, card(model, repository, format))
        return Exported(upload(Path(place), repository, public=public, api=api), notes)


def export_diffusers(model: Run, folder: Path) -> tuple[str, ...]:
    """Write a pipeline that makes the same predictions, and return notes on what it lacks.

    Step k of diffusers is t = k + 1 here; the first linear map of the time embedding absorbs the shift.

    Raises:
        ConfigurationError: diffusers does not support an option of the model; the message names it.
    """
    network = _chain(model, "diffusers").network
    assert isinstance(model, DiffusionRun)
    if not isinstance(network, UNet):
        raise ConfigurationError(
            f"the network of {model.folder} is not a U-Net, and diffusers has no other network for pixels; export with "
            f"{option('format', 'torch')}."
        )
    options, recipe = network.options, model.recipe
    chain = Chain(recipe.schedule, recipe.parameterization, recipe.variance)
    scheduler, unet = scheduler_config.config_of(chain), unet_config.config_of(options, model.shape)
    weights = set_clock(network.state_dict(), options, options.first_time)
    write_pipeline(folder, Pipeline(unet, to_diffusers(weights), scheduler))
    notes = list(rounding_note(recipe.schedule))
    if model.mse is not None:
        notes.append(f"the calibrated variance is not exported: diffusers samples with {scheduler.variance_type}")
    if model.pixels is not None:
        notes.append(NO_DECODER)
    if model.levels != LEVELS:
        notes.append(f"images of diffusers have {LEVELS} levels, those of this model {model.levels}")
    return tuple(notes)


def export_program(model: Run, folder: Path) -> tuple[str, ...]:
    """Write model.pt2 and program.json, and return a note on the numerical difference from the model.

    Raises:
        ConfigurationError: the model is not a diffusion model.
        RunError: the program differs from the model.
    """
    difference = write_program(_chain(model, "torch"), folder)
    note = f"the outputs of the program differ from the model's by at most {max(difference, 1e-9):.0e} of their scale"
    return (note, NO_DECODER) if isinstance(model, DiffusionRun) and model.pixels is not None else (note,)


def export_run(model: Run, folder: Path) -> tuple[str, ...]:
    """Copy the run's configuration, weights and valid codec plan, without the path of its images on this machine."""
    stale = is_stale(model.folder)
    for name in RUN_FILES[1:]:
        if (model.folder / name).is_file() and not (stale and name == PLAN_FILE):
            copy_whole(model.folder / name, folder / name)
    spec = model.config.data.spec
    built_in = absolute_spec(spec) == spec and not Path(spec).is_absolute()
    data = replace(model.config.data, spec=spec if built_in else UNKNOWN_DATA)
    RunConfig(model.config.recipe, data, model.config.preset).save(folder)
    return (f"{PLAN_FILE} is not exported: it was measured for earlier weights",) if stale else ()


FORMATS: dict[str, Callable[[Run, Path], tuple[str, ...]]] = {
    "diffusers": export_diffusers,
    "torch": export_program,
    "nelbo": export_run,
}


def card(model: Run, repository: Repository, format: str) -> str:
    """Return the README.md of a repository: what it holds and how to open it."""
    channels, height, width = model.shape
    opened = {
        "diffusers": f'diffusers.DDPMPipeline.from_pretrained("{repository.name}")',
        "torch": 'torch.export.load("model.pt2").module()',
        "nelbo": f'nelbo.interop.import_model("{repository}", "runs/{repository.name.split("/")[1]}")',
    }[format]
    return (
        f"{FENCE}\nlibrary_name: {format}\ntags: [diffusion, nelbo]\n{FENCE}\n\n"
        f"# {repository.name.split('/')[1]}\n\n"
        f"Images of {width} x {height} in {channels} channel(s): {model.config.recipe.in_words}. Exported by nelbo.\n\n"
        f"```\n{opened}\n```\n"
    )


def _chain(model: Run, format: str) -> DiffusionRun:
    """Check that a run is of a diffusion model."""
    if not isinstance(model, DiffusionRun):
        raise ConfigurationError(
            f"{model.folder} is a variational autoencoder; only a diffusion model can be exported as {format}. Every "
            f"run can be exported with {option('format', 'nelbo')}."
        )
    return model
