"""The codec plan in a run folder: measured, loaded, checked against the weights, and found by its fingerprint."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from nelbo.codec import CodecPlan, FittingOptions, ProgressiveCodec, fit_plan
from nelbo.codec.codec import made_by_another
from nelbo.codec.float_chain import FloatChain
from nelbo.data import Images, as_dataset
from nelbo.diffusion import LEARNED
from nelbo.errors import CodecError, ConfigurationError, NelboError, NelboWarning, RunError, option, setting
from nelbo.files import hash_tensors, read_metadata, read_tensors, write_tensors
from nelbo.options import check_whole
from nelbo.paths import expanded
from nelbo.progress import StageProgress, reported_stages
from nelbo.runs.diffusion_model import DiffusionModel
from nelbo.runs.folder import (
    CONFIG_FILE,
    MASKING_FILE,
    MODEL_FILE,
    bundled_codecs,
    bundled_models,
    why_no_decoder,
    why_not_calibrated,
)
from nelbo.runs.integer_model import ARCHIVES, FILES, INTEGER_FILE, IntegerModel

PLAN_FILE = "codec.safetensors"
# The files of a run that state a fingerprint, and where: of the models of .nelbo files, and of those of archives.
MADE_FILES = ((PLAN_FILE, "fingerprint"), (INTEGER_FILE, FILES), (MASKING_FILE, FILES))
MADE_ARCHIVES = ((INTEGER_FILE, ARCHIVES),)
MODELS_VARIABLE = "NELBO_MODELS"
# The network options that the weights do not determine. An option added later enters the hash only where it differs
# from its default, so that fingerprints of earlier models stay as they are.
SHAPING = ("channels", "base", "multipliers", "blocks", "attention", "middle_attention", "heads", "groups", "fourier")
SHAPING_SINCE = {
    "head_width": None,
    "norm_eps": 1e-6,
    "symmetric_padding": False,
    "first_time": 1,
    "frequency_shift": 1,
    "slopes": (),
    "patch": None,  # of a DiT: the options of a U-Net have no patch
}
CHAIN = ("kind", "num_steps", "beta_1", "beta_T", "log_snr_max", "log_snr_min")
CHAIN_SINCE: dict[str, object] = {"betas": ()}
# Bundled models of earlier versions, by their fingerprints. They are in tests/codec/golden of the repository.
FORMER = {"f8a93c4a727b5be0e9aa5bc88fa8721c0f5aaefd21d62aa5d48f89f46e1dc080": "fashion-mnist-v1"}
ARITHMETIC = "float64 throughout, clipped xhat_0, calibrated variance"


class PlanWarning(NelboWarning):
    """A codec plan becomes stale."""


class ModelInFolder(Protocol):
    """A diffusion model with a run folder, such as `DiffusionRun`."""

    @property
    def folder(self) -> Path: ...
    @property
    def model(self) -> DiffusionModel: ...


def fit_codec(
    run: ModelInFolder,
    images: Images,
    options: FittingOptions | None = None,
    progress: StageProgress | bool | None = None,
) -> CodecPlan:
    """Measure the codec plan of a run on training images, and write it into the run folder.

    Args:
        progress: True for progress bars, or a function that is called with (stage, done, total).

    Raises:
        ConfigurationError: the codec does not support this model.
        RunError: the model is not calibrated, or its decoder is not trained.
    """
    model = run.model
    _require_support(run)
    _require_decoder(run)
    dataset = as_dataset(images, model.data.shape, model.data.levels, model.data.range)
    with reported_stages(progress) as report:
        plan = fit_plan(model.reverse(clip=True), dataset, options, report)
    write_tensors(run.folder / PLAN_FILE, plan.tensors(), {"fingerprint": fingerprint(model, plan).hex()})
    return plan


def load_codec(
    run: ModelInFolder, batch_size: int = 8, maker: bytes | None = None, integers: bool | None = None
) -> ProgressiveCodec:
    """Return the codec of a run: by its integer model if it has one, or else by its diffusion network.

    A class-conditional model is called without a class, so a file stores none.

    Args:
        maker: the fingerprint in the files to decode, or None.
        integers: without a maker, whether to code with the integer model; None for what the run has.

    Raises:
        CodecError: the files were made by another model; this comes before what is wrong with the plan of this one.
        ConfigurationError: the plan has not been measured yet, or the codec does not support the model; or there is no
            integer model, and `integers` is True.
        RunError: the plan is damaged, or was measured for other weights; or the model is not calibrated; or, without a
            maker, its decoder is not trained; or the integer model is damaged.
    """
    path = run.folder / PLAN_FILE
    if integers is None and maker is None:
        integers = (run.folder / INTEGER_FILE).is_file()
    if integers if maker is None else made_by_integers(run.folder, maker):
        return IntegerModel.load(run.folder).codec(batch_size)
    if maker is not None and not (stored := _stated(path, "fingerprint")).startswith(maker.hex()):
        raise made_by_another(maker, stored or _stated(run.folder / INTEGER_FILE, FILES))
    _require_support(run)
    if maker is None:  # files that exist do not depend on the network of the decoder, only on the plan
        _require_decoder(run)
    if not path.is_file():
        raise ConfigurationError(
            f"{run.folder} has no codec plan: {PLAN_FILE} is missing; measure it once with `nelbo codec {run.folder}` "
            "(minutes, on the run's training images)."
        )
    tensors, metadata = read_tensors(path)
    try:
        plan = CodecPlan.from_tensors(tensors)
    except RunError as error:
        raise RunError(f"{path}: {error.marked}") from error
    known, stored = fingerprint(run.model, plan), str(metadata.get("fingerprint", ""))
    if metadata.get("stale") or stored != known.hex():
        raise RunError(
            f"{path} was measured for other weights than those of {run.folder / MODEL_FILE}, for example "
            f"because the run was trained further afterwards; {_remedy(run.folder)}"
        )
    shape, reverse = run.model.data.shape, run.model.reverse(clip=True)
    plan.check_model(shape, reverse.levels, reverse.schedule.num_steps)
    check_whole("batch_size", batch_size)
    return ProgressiveCodec(FloatChain(reverse, plan, batch_size), known, shape)


def mark_stale(folder: Path) -> bool:
    """Record that the weights of a run change after its plan was measured. Returns whether there was a valid plan."""
    path = folder / PLAN_FILE
    if not path.is_file() or is_stale(folder):
        return False
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "stale": True})
    return True


def is_stale(folder: Path) -> bool:
    """Whether a run has a plan that `mark_stale` has marked."""
    return (folder / PLAN_FILE).is_file() and bool(read_metadata(folder / PLAN_FILE).get("stale"))


def warn_of_plan(folder: Path) -> None:
    """Warn, before a run is trained further, that its codec plan will no longer fit the weights."""
    if (folder / PLAN_FILE).is_file() and not is_stale(folder):
        warnings.warn(
            f"{folder} has a codec plan, and training changes the weights that it was measured for: .nelbo files made "
            "with it can no longer be decoded. Copy the folder first to keep them.",
            PlanWarning,
            stacklevel=2,
        )


def _require_support(run: ModelInFolder) -> None:
    """Check that the codec supports a model, whether or not it has a plan."""
    if run.model.variance().learned:
        raise ConfigurationError(
            f"the codec needs a variance that is fixed in training, and the network of {run.folder} outputs one; train "
            f"a model without {setting('variance', 'learned-range')}."
        )
    if run.model.mse is None:
        raise RunError(f"{why_not_calibrated(run.folder, run.model.data)}.")


def _require_decoder(run: ModelInFolder) -> None:
    """Check that the pixel network of the decoder is trained, if the recipe has one."""
    if run.model.lacks_decoder:
        raise RunError(f"{why_no_decoder(run.folder, run.model.data)}.")


def _remedy(folder: Path) -> str:
    return (
        f"measure it again with `nelbo codec --again {folder}`. Files that were compressed before can only be decoded "
        "with the earlier weights and plan."
    )


def fingerprint(model: DiffusionModel, plan: CodecPlan) -> bytes:
    """Return 32 bytes of SHA-256 over all that decoding depends on: weights, schedule, variance, plan, arithmetic."""
    recipe, network, schedule = model.recipe, asdict(model.recipe.network), asdict(model.recipe.schedule)
    settings = {  # a schedule enters by its options, because its tables may differ in a last digit elsewhere
        "schedule": _hashed(schedule, CHAIN, CHAIN_SINCE),
        "network": _hashed(network, SHAPING, SHAPING_SINCE),
        "parameterization": recipe.parameterization,
        "shape": list(model.data.shape),
        "levels": model.data.levels,
        "arithmetic": ARITHMETIC,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    assert model.mse is not None
    tensors = {**model.network.state_dict(), "mse": model.mse, **{f"plan.{k}": v for k, v in plan.tensors().items()}}
    if model.recipe.schedule.kind == "learned":
        tensors[LEARNED] = model.schedule.alphas_bar
    hash_tensors(digest, tensors)
    return digest.digest()


def _hashed(options: Mapping[str, Any], names: Sequence[str], since: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `names`, and those added later that differ from their defaults."""
    later = [name for name, default in since.items() if options.get(name, default) != default]
    return {name: options[name] for name in (*names, *later) if name in options}


def made_by_integers(folder: Path, maker: bytes) -> bool:
    """Return whether the integer model of a run made the files whose fingerprint begins with `maker`."""
    return _made_by(folder / INTEGER_FILE, maker)


def made_by_masking(folder: Path, maker: bytes) -> bool:
    """Return whether the model of photographs of a folder made the files whose fingerprint begins with `maker`."""
    return _made_by(folder / MASKING_FILE, maker)


def _made_by(path: Path, maker: bytes) -> bool:
    stated = _stated(path, FILES)
    return bool(stated) and stated.startswith(maker.hex())


def _stated(path: Path, entry: str) -> str:
    """Return the fingerprint that a file of a run states, "" if there is none or the file is damaged."""
    if path.is_file():
        with suppress(NelboError):
            return str(read_metadata(path).get(entry, ""))
    return ""


def find_model(start: bytes, parts: Sequence[tuple[str, str]] = MADE_FILES) -> Path:
    """Find the folder of the model whose fingerprint begins with `start`: bundled, in ./runs, or in $NELBO_MODELS.

    A valid plan comes before one that has become stale.

    Args:
        parts: where it is, for .nelbo files or for archives.

    Raises:
        CodecError: there is none.
    """
    stale = []
    for folder, name, entry in _known_parts(parts):
        try:
            metadata = read_metadata(folder / name)
        except NelboError:
            continue  # a damaged plan of another run does not stop the search
        if str(metadata.get(entry, "")).startswith(start.hex()):
            if not metadata.get("stale"):
                return folder
            stale.append(folder)
    if stale:
        return stale[0]
    for known, name in FORMER.items():
        if known.startswith(start.hex()):
            raise CodecError(
                f"the file was made by {name}, a bundled model of an earlier version; copy the folder "
                f"tests/codec/golden/{name} of nelbo's repository, and name it by {option('model')}."
            )
    raise CodecError(
        f"the file was made by a model with the fingerprint {start.hex()}, which is not among the bundled models, the "
        f"runs in ./runs or those in ${MODELS_VARIABLE}; name its run by {option('model')}."
    )


def _known_parts(parts: Sequence[tuple[str, str]]) -> Iterator[tuple[Path, str, str]]:
    """Yield every run folder with one of these files, in the order of the search, and the file and its entry."""
    places = [Path("runs"), *(expanded(p) for p in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if p)]
    folders = [*bundled_models().values(), *bundled_codecs().values()]
    for place in places:
        found = {path.parent for file in (CONFIG_FILE, MASKING_FILE) for path in place.glob(f"*/{file}")}
        folders += [place, *sorted(found)]
    for folder in folders:
        for name, entry in parts:
            if (folder / name).is_file() and (name == MASKING_FILE or (folder / CONFIG_FILE).is_file()):
                yield folder, name, entry
