"""Export a run's model as a diffusers pipeline, as a program or as a run, into a folder or to the Hub."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nelbo.data import absolute_spec
from nelbo.errors import ConfigurationError, option
from nelbo.files import whole_folder, write_text
from nelbo.interop import scheduler_config, unet_config, unet_module
from nelbo.interop.card import CARD, card
from nelbo.interop.hub import Repository, upload
from nelbo.interop.importing import LEVELS, RUN_FILES, copy_whole, refuse_taken
from nelbo.interop.latent_pipeline import export_latent
from nelbo.interop.pipeline import Pipeline, write_pipeline
from nelbo.interop.program import write_program
from nelbo.interop.scheduler_config import Chain, rounding_note
from nelbo.interop.weights import set_clock, to_diffusers
from nelbo.networks import UNet
from nelbo.options import known
from nelbo.paths import expanded
from nelbo.recipes.families import FAMILIES
from nelbo.runs import DiffusionRun, LatentRun, Run, RunConfig, load
from nelbo.runs.codec_plan import PLAN_FILE, is_stale
from nelbo.runs.data_options import UNKNOWN_DATA
from nelbo.runs.folder import why_no_decoder

NO_DECODER = (
    "the pixel network of the decoder p(x_0|x_1) is not exported: images end with xhat_0, which is smoother than what "
    "the decoder draws"
)
EXAMPLE = 3  # a class in a note, if the model has as many


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
    known(format, FORMATS, "format")
    repository, model = Repository.named(out), load(run, device="cpu")
    if repository is None:
        if public:
            raise ConfigurationError(
                f"{option('public')} is for a repository such as hf:owner/name, but {out} is a folder; leave it out."
            )
        folder = expanded(out)
        refuse_taken(folder)
        with whole_folder(folder) as part:
            notes = _write(model, part, format, os.path.basename(os.path.realpath(folder)))
        return Exported(str(folder), notes)
    with tempfile.TemporaryDirectory() as place:
        named = str(repository) if format == "nelbo" else repository.name
        notes = _write(model, Path(place), format, named)
        return Exported(upload(Path(place), repository, public=public, api=api), notes)


def export_diffusers(model: Run, folder: Path) -> tuple[str, ...]:
    """Write a pipeline that makes the same predictions, and return notes on what it lacks.

    Step k of diffusers is t = k + 1 here; the first linear map of the time embedding absorbs the shift. If diffusers
    lacks a part of the model, the folder carries code of its own (see `unet_module`), which shifts k itself.

    Raises:
        ConfigurationError: diffusers does not support an option of the model; the message names it.
    """
    if isinstance(model, LatentRun):
        return export_latent(model, folder)
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
    weights, notes = network.state_dict(), list(rounding_note(recipe.schedule))
    if without := unet_module.lacking(model, options):
        own = unet_module.settings_of(model, options, unet)
        write_pipeline(folder, Pipeline(unet, to_diffusers(weights), scheduler), own)
        notes += _notes_on_code(without, options.num_classes or 0)
    else:
        weights = set_clock(weights, options, options.first_time)
        write_pipeline(folder, Pipeline(unet, to_diffusers(weights), scheduler))
    if model.mse is not None:
        notes.append(f"the calibrated variance is not exported: diffusers samples with {scheduler.variance_type}")
    if model.recipe.decoder.kind == "pixels":
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
    pixels = isinstance(model, DiffusionRun) and model.recipe.decoder.kind == "pixels"
    return (note, NO_DECODER) if pixels else (note,)


def export_run(model: Run, folder: Path) -> tuple[str, ...]:
    """Copy the configuration, the weights, a valid codec plan and the integer model, without the path of the images."""
    stale = is_stale(model.folder)
    for name in RUN_FILES[1:]:
        if (model.folder / name).is_file() and not (stale and name == PLAN_FILE):
            copy_whole(model.folder / name, folder / name)
    spec = model.config.data.spec
    built_in = absolute_spec(spec) == spec and not Path(spec).is_absolute()
    data = model.config.data if built_in else replace(model.config.data, spec=UNKNOWN_DATA, names=None)
    RunConfig(model.config.recipe, data, model.config.preset).save(folder)
    notes = [f"{PLAN_FILE} is not exported: it was measured for earlier weights"] if stale else []
    if isinstance(model, DiffusionRun) and model.model.lacks_decoder:
        notes.append(why_no_decoder(model.folder, model.config.data))
    return tuple(notes)


FORMATS: dict[str, Callable[[Run, Path], tuple[str, ...]]] = {
    "diffusers": export_diffusers,
    "torch": export_program,
    "nelbo": export_run,
}


def _write(model: Run, folder: Path, format: str, place: str) -> tuple[str, ...]:
    """Write a model with its card, and return the notes of the format; `place` is its folder or repository by name."""
    notes = FORMATS[format](model, folder)
    code = (folder / "unet" / f"{unet_module.MODULE}.py").is_file()
    write_text(folder / CARD, card(model, place, format, notes, code=code))
    return notes


def _notes_on_code(lacking: Sequence[str], num_classes: int) -> list[str]:
    """Return the notes on a folder that carries code because diffusers lacks something; 0 classes for none."""
    notes = [
        f"diffusers lacks {', '.join(lacking)}: unet/{unet_module.MODULE}.py in the folder adds this, so load it by "
        "DDPMPipeline.from_pretrained(FOLDER, trust_remote_code=True)"
    ]
    if num_classes:
        some = min(EXAMPLE, num_classes - 1)
        notes.append(
            f"a DDPMPipeline samples without a class; for class {some}, set pipeline.unet.label = {some} before. "
            "Guidance and the frequencies of the classes are not exported"
        )
    return notes


def _chain(model: Run, format: str) -> DiffusionRun:
    """Check that a run is of a diffusion model."""
    if not isinstance(model, DiffusionRun):
        raise ConfigurationError(
            f"{model.folder} is {FAMILIES[model.family].in_words}; only a diffusion model can be exported as {format}. "
            f"Every run can be exported with {option('format', 'nelbo')}."
        )
    return model
