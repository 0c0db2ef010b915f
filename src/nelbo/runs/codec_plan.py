"""A run as a codec: its plan in the run's folder, its fingerprint, and where a file's model is looked for."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nelbo.codec import CodecPlan, FittingOptions, FittingProgress, ProgressiveCodec, fit_plan
from nelbo.data import ImageDataset
from nelbo.errors import CodecError, ConfigurationError, NelboError
from nelbo.files import read_metadata, read_tensors, write_tensors
from nelbo.runs.folder import CONFIG_FILE, bundled_models

if TYPE_CHECKING:
    from nelbo.runs.diffusion_run import DiffusionRun

PLAN_FILE = "codec.safetensors"
MODELS_VARIABLE = "NELBO_MODELS"
# Of a network's options those that its weights do not tell; a later option enters where it is not at its default.
SHAPING = ("channels", "base", "multipliers", "blocks", "attention", "middle_attention", "heads", "groups", "fourier")
SHAPING_SINCE = {
    "head_width": None,
    "norm_eps": 1e-6,
    "symmetric_padding": False,
    "first_time": 1,
    "frequency_shift": 1,
    "slopes": (),
}
CHAIN = ("kind", "num_steps", "beta_1", "beta_T", "log_snr_max", "log_snr_min")
CHAIN_SINCE: dict[str, object] = {"betas": ()}
ARITHMETIC = "float64 throughout, clipped xhat_0, calibrated variance"


def fit_codec(
    run: "DiffusionRun",
    images: ImageDataset,
    options: FittingOptions | None = None,
    progress: FittingProgress | None = None,
) -> CodecPlan:
    """Measure the plan of a run on training images, and keep it in the run's folder.

    Raises:
        ConfigurationError: a model that the codec cannot use.
    """
    if run.recipe.conditional:
        raise ConfigurationError(
            "the codec has no way to tell the receiver a class yet, and this model is class-conditional; train one "
            "without --conditional."
        )
    plan = fit_plan(run.reverse(clip=True), images, options, progress)
    write_tensors(run.folder / PLAN_FILE, plan.tensors(), {"fingerprint": fingerprint(run, plan).hex()})
    return plan


def load_codec(run: "DiffusionRun", batch_size: int = 8) -> ProgressiveCodec:
    """The codec of a run.

    Raises:
        ConfigurationError: its plan has not been measured yet.
        RunError: the plan is damaged.
    """
    path = run.folder / PLAN_FILE
    if not path.is_file():
        raise ConfigurationError(
            f"{run.folder} is not ready to compress: {PLAN_FILE} is missing; measure it once by `nelbo codec "
            f"{run.folder}` (minutes, on the run's training images)."
        )
    plan = CodecPlan.from_tensors(read_tensors(path)[0])
    return ProgressiveCodec(run.reverse(clip=True), plan, fingerprint(run, plan), run.shape, batch_size)


def fingerprint(run: "DiffusionRun", plan: CodecPlan) -> bytes:
    """32 bytes of SHA-256 over all that decoding depends on: weights, schedule, variance, plan and arithmetic."""
    recipe, network, schedule = run.recipe, asdict(run.recipe.network), asdict(run.recipe.schedule)
    told = {  # a schedule by its options, because its tables may differ in a last digit elsewhere
        "schedule": _told(schedule, CHAIN, CHAIN_SINCE),
        "network": _told(network, SHAPING, SHAPING_SINCE),
        "parameterization": recipe.parameterization,
        "shape": list(run.shape),
        "levels": run.levels,
        "arithmetic": ARITHMETIC,
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    assert run.mse is not None
    tensors = {**run.network.state_dict(), "mse": run.mse, **{f"plan.{k}": v for k, v in plan.tensors().items()}}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _told(options: Mapping[str, Any], names: Sequence[str], since: Mapping[str, Any]) -> dict[str, Any]:
    """The options of some names, and of those that came later the ones that are not at their default."""
    later = [name for name, default in since.items() if options.get(name, default) != default]
    return {name: options[name] for name in (*names, *later) if name in options}


def find_model(start: bytes) -> Path:
    """The folder of the model whose fingerprint begins so: bundled, in ./runs, or in a folder of $NELBO_MODELS.

    Raises:
        CodecError: none is.
    """
    for folder in _known_folders():
        try:
            known = str(read_metadata(folder / PLAN_FILE).get("fingerprint", ""))
        except NelboError:
            continue  # a damaged plan of some other run is no reason to stop
        if known.startswith(start.hex()):
            return folder
    raise CodecError(
        f"the file was made by a model with the fingerprint {start.hex()}, which is none of the bundled ones, none in "
        f"./runs and none in ${MODELS_VARIABLE}; name its run by -m."
    )


def _known_folders() -> Iterator[Path]:
    """Every run that has a plan, in the order of the search."""
    yield from (path for path in bundled_models().values() if (path / PLAN_FILE).is_file())
    places = [Path("runs"), *(Path(p) for p in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if p)]
    for place in places:
        for plan in [place / PLAN_FILE, *sorted(place.glob(f"*/{PLAN_FILE}"))]:
            if plan.is_file() and (plan.parent / CONFIG_FILE).is_file():
                yield plan.parent
