"""A folder in diffusers' layout: configuration and weights of a U-Net, and configuration of a scheduler."""

from collections.abc import Iterator, Mapping
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
from nelbo.interop.weight_files import OTHERS, WEIGHTS, WeightFiles, find_weights
from nelbo.interop.weights import read_weights

INDEX, UNET, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
RAW, AVERAGED = "unet", "unet_ema"
HOMES = ("", f"{RAW}/", f"{AVERAGED}/")
PARTS = tuple(f"{home}{name}" for home in HOMES for name in (UNET, WEIGHTS, f"{WEIGHTS}.index.json"))
FILES = (INDEX, SCHEDULER, f"scheduler/{SCHEDULER}", *PARTS)
OTHER_FILES = tuple(f"{home}{pattern}" for home in HOMES for pattern in OTHERS)
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
VERSION = "0.30.0"  # earliest version of diffusers that was tested to read these files
# What diffusers' `EMAModel` adds to the settings of the network that it averages.
EMA_SETTINGS = frozenset(
    (
        "decay",
        "min_decay",
        "optimization_step",
        "update_after_step",
        "use_ema_warmup",
        "inv_gamma",
        "power",
        "cur_decay_value",
    )
)


@dataclass(frozen=True)
class Pipeline:
    """The contents of the folder.

    Attributes:
        unet: the configuration of the network.
        weights: float32, by diffusers' names.
        scheduler: the configuration of the scheduler, or None for a network without one.
        notes: on the choice of the weights, one sentence each.
    """

    unet: UNetConfig
    weights: Mapping[str, Tensor]
    scheduler: SchedulerConfig | None
    notes: tuple[str, ...] = ()


def read_pipeline(folder: Path) -> Pipeline:
    """Read a pipeline, or a network alone, without running any code that it contains.

    Of the folders `unet_ema` and `unet` of a training script, the first is read: the moving average.

    Raises:
        RunError: a file is missing or damaged, or the weights are pickled.
        ConfigurationError: nelbo does not support this kind of pipeline, or a setting is unknown.
        NonFiniteError: a weight is NaN or infinite.
    """
    if (folder / INDEX).is_file():
        _refuse_kinds(
            folder / INDEX, read_settings(folder / INDEX), PIPELINES, "a U-Net on pixels and no other network"
        )
    home = _home(folder)
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
    unet = _record(home / UNET, UNetConfig, {k: v for k, v in settings.items() if k not in EMA_SETTINGS})
    found = find_weights(home)
    weights: dict[str, Tensor] = {}
    for path in found.paths:
        weights |= read_weights(path)
    return Pipeline(unet, weights, _scheduler(folder), tuple(_notes(folder, home, settings, found)))


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
    write_index(folder, "DDPMPipeline", {"unet": [library, kind], "scheduler": ["diffusers", "DDPMScheduler"]})


def write_index(folder: Path, pipeline: str, parts: Mapping[str, list[str]]) -> None:
    """Write the class of a pipeline and those of its parts, each with its library."""
    write_json(folder / INDEX, {"_class_name": pipeline, "_diffusers_version": VERSION, **parts})


def _home(folder: Path) -> Path:
    """Return the folder of the network: `unet_ema`, `unet` or the folder itself."""
    if (folder / AVERAGED / UNET).is_file():
        return folder / AVERAGED
    return folder / RAW if (folder / RAW).is_dir() else folder


def _notes(folder: Path, home: Path, settings: Mapping[str, Any], found: WeightFiles) -> Iterator[str]:
    """Yield what the caller should know about the choice of the weights."""
    if home.name == AVERAGED or settings.keys() & EMA_SETTINGS:
        others = f"; for those of the last step, import its folder {RAW}" if (folder / RAW).is_dir() else ""
        yield f"the weights in {home} are imported, a moving average over the steps of training{others}"
    if found.variant:
        yield f"the weights are those of the variant {found.variant}, because {home} has no others"


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
