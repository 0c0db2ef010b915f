"""A folder in diffusers' layout: configuration and weights of a U-Net, and configuration of a scheduler."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from nelbo.errors import ConfigurationError, RunError, option
from nelbo.files import write_bytes, write_json, write_text
from nelbo.interop.scheduler_config import ADDED, SchedulerConfig
from nelbo.interop.settings import read_settings, record_of, refuse_others
from nelbo.interop.unet_config import UNetConfig
from nelbo.interop.unet_module import CLASS, MODULE, module_text
from nelbo.interop.weights import read_weights

INDEX, UNET, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
FILES = (INDEX, *(f"{folder}{name}" for folder in ("", "unet/") for name in (UNET, WEIGHTS)))
FILES += (SCHEDULER, f"scheduler/{SCHEDULER}")
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
VERSION = "0.30.0"  # earliest version of diffusers that was tested to read these files
TO_SAFETENSORS = (
    "opening it would run its code. If you trust it, convert it to safetensors with diffusers: "
    'DDPMPipeline.from_pretrained("THERE").save_pretrained("FOLDER", safe_serialization=True)'
)


@dataclass(frozen=True)
class Pipeline:
    """The contents of the folder.

    Attributes:
        unet: the configuration of the network.
        weights: float32, by diffusers' names.
        scheduler: the configuration of the scheduler, or None for a network without one.
    """

    unet: UNetConfig
    weights: Mapping[str, Tensor]
    scheduler: SchedulerConfig | None


def read_pipeline(folder: Path) -> Pipeline:
    """Read a pipeline, or a network alone, without running any code that it contains.

    Raises:
        RunError: a file is missing or damaged, or the weights are pickled.
        ConfigurationError: nelbo does not support this kind of pipeline, or a setting is unknown.
        NonFiniteError: a weight is NaN or infinite.
    """
    if (folder / INDEX).is_file():
        _refuse_kinds(
            folder / INDEX, read_settings(folder / INDEX), PIPELINES, "a U-Net on pixels and no other network"
        )
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    if not (home / UNET).is_file():
        raise RunError(
            f"{folder} is not a model: {UNET} is missing; expected a folder of diffusers' DDPMPipeline or UNet2DModel, "
            "or a run folder of nelbo."
        )
    settings = read_settings(home / UNET)
    if settings.get("_class_name") == CLASS:
        raise ConfigurationError(
            f"{home} is a U-Net that nelbo exported with code, which nelbo does not run; import a copy of the run "
            f"instead, exported with {option('format', 'nelbo')}."
        )
    _refuse_kinds(home / UNET, settings, ("UNet2DModel",), "without text or other conditions")
    unet = _record(home / UNET, UNetConfig, settings)
    return Pipeline(unet, read_weights(_weights_file(home)), _scheduler(folder))


def write_pipeline(folder: Path, pipeline: Pipeline, own: Mapping[str, Any] | None = None) -> None:
    """Write a folder that `diffusers.DDPMPipeline.from_pretrained` reads.

    Args:
        own: the settings of the U-Net that the folder carries as code (see `unet_module`), or None for a `UNet2DModel`.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    assert pipeline.scheduler is not None
    versions = {"_diffusers_version": VERSION}
    library, kind = ("diffusers", "UNet2DModel") if own is None else (MODULE, CLASS)
    unet = {"_class_name": kind, **versions, **(asdict(pipeline.unet) if own is None else own)}
    scheduler = {"_class_name": "DDPMScheduler", **versions, **asdict(pipeline.scheduler)}
    weights = {name: weight.detach().cpu().contiguous() for name, weight in pipeline.weights.items()}
    write_json(folder / "unet" / UNET, unet)
    write_bytes(folder / "unet" / WEIGHTS, save(weights, metadata={"format": "pt"}))
    write_json(folder / "scheduler" / SCHEDULER, scheduler)
    if own is not None:
        write_text(folder / "unet" / f"{MODULE}.py", module_text())
    index = {"unet": [library, kind], "scheduler": ["diffusers", "DDPMScheduler"]}
    write_json(folder / INDEX, {"_class_name": "DDPMPipeline", **versions, **index})


def _scheduler(folder: Path) -> SchedulerConfig | None:
    """Read the scheduler, from its own folder or beside the network."""
    for path in (folder / "scheduler" / SCHEDULER, folder / SCHEDULER):
        if path.is_file():
            settings = read_settings(path)
            how = 'DDPMScheduler.from_config(pipeline.scheduler.config).save_pretrained("THERE") writes one'
            _refuse_kinds(path, settings, SCHEDULERS, how)
            refuse_others(ADDED, settings)
            return _record(path, SchedulerConfig, {k: v for k, v in settings.items() if k not in ADDED})  # type: ignore[no-any-return]
    return None


def _weights_file(home: Path) -> Path:
    """Find the file of the weights.

    Raises:
        RunError: there is no single safetensors file.
    """
    if (home / WEIGHTS).is_file():
        return home / WEIGHTS
    others = sorted(path.name for path in home.iterdir() if path.name.startswith("diffusion_pytorch_model"))
    pickled = [path.name for path in sorted(home.iterdir()) if path.suffix in PICKLES]
    if pickled:
        raise RunError(
            f"{home / pickled[0]} is a pickle and {WEIGHTS} is missing; nelbo never opens a pickle: {TO_SAFETENSORS}."
        )
    found = f" (found {', '.join(others)})" if others else ""
    raise RunError(
        f"{home / WEIGHTS} is missing{found}; expected the weights in one safetensors file. A pickle "
        f"({', '.join(PICKLES)}) is not read: {TO_SAFETENSORS}."
    )


def _refuse_kinds(path: Path, settings: Mapping[str, Any], kinds: tuple[str, ...], expected: str) -> None:
    """Check that a file names one of the classes `kinds`."""
    kind = settings.get("_class_name")
    if kind not in kinds:
        raise ConfigurationError(f"{path} is for the class {kind!r}; expected {' or '.join(kinds)} ({expected}).")


def _record(path: Path, kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """Read settings as a record; errors name the file."""
    try:
        return record_of(kind, settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.marked}") from error
