"""The data of a training run: read for training, described in its configuration, and read again for evaluation."""

import hashlib
import os
from dataclasses import replace
from typing import Any

from nelbo.condition import Condition
from nelbo.data import (
    MEMORY_PREFIX,
    ConditionedDataset,
    DataWarning,
    ImageDataset,
    Split,
    absolute_spec,
    fingerprint,
    load_data,
    scale_of,
    taken_by,
)
from nelbo.data.names import BUILT_IN, FULL, is_stream, path_of
from nelbo.errors import DataError, option, warn
from nelbo.refinement import coarse_split
from nelbo.runs.beside_options import BESIDE
from nelbo.runs.data_options import UNKNOWN_DATA, DataOptions
from nelbo.runs.folder import RunConfig, bundled_models
from nelbo.runs.run import Run
from nelbo.studies.data_request import DataRequest
from nelbo.studies.listener import Listener

DIGESTED = 256  # images whose masks, numbers or second images are digested
LARGEST_SIDE = 256  # in pixels, of images that are used at their own size; larger images need a `size`


def read_split(request: DataRequest, *, workers: int | None, seed: int, listener: Listener) -> Split:
    """Read the images of a request, split into a training part and a held-out part.

    Args:
        workers: threads that scan a folder; see `nelbo.data.load_data`.
        seed: chooses the held-out images.

    Raises:
        DataError: the data is missing, empty, damaged, of several sizes, or larger than 256 pixels without a `size`.
        ConfigurationError: the request holds an invalid value.
    """
    return load_data(
        request.spec,
        size=request.size,
        mode=request.mode,  # type: ignore[arg-type]
        held_out=request.held_out,
        on_reject=request.on_reject,
        workers=workers,
        seed=seed,
        progress=lambda done, total: listener.on_stage("reading images", done, total),
        largest=LARGEST_SIDE,
        range=request.range,
        quantum=request.quantum,
        num_images=request.num_images,
        **request.beside,
    )


def described(request: DataRequest, split: Split) -> DataOptions:
    """Return the record of the data for a run's configuration."""
    named = isinstance(request.spec, str)
    return DataOptions(
        spec=absolute_spec(request.spec) if named else f"{MEMORY_PREFIX}{fingerprint(split)}",
        size=request.size,
        mode=request.mode,
        held_out=request.held_out,
        range=split.limits if split.level_scale is None else (split.level_scale.low, split.level_scale.high),
        quantum=None if split.level_scale is None else split.level_scale.quantum,
        value_levels=None if split.level_scale is None else split.level_scale.levels,
        value_type=None if split.level_scale is None else split.level_scale.dtype,
        shape=split.train.shape,
        levels=coarse_split(split).train.levels,
        num_train=len(split.train),
        num_held_out=len(split.test),
        class_names=split.train.class_names,
        class_counts=split.train.class_counts,
        names=split.names if named else None,
        **_described_beside(request, split),
    )


def _described_beside(request: DataRequest, split: Split) -> dict[str, Any]:
    """Return the fields of `DataOptions` that say what lies beside the images."""
    found = {
        name: os.path.realpath(path_of(value)) if isinstance(value, str) else f"{MEMORY_PREFIX}{_digest(split, name)}"
        for name, value in request.beside.items()
    }
    takes, scale = taken_by(split.train), scale_of(split.train)
    paired = split.train.paired if isinstance(split.train, ConditionedDataset) else None
    numbers = {} if scale is None else {"columns": scale.columns, "means": scale.means, "stddevs": scale.stddevs}
    shape = None if paired is None else paired.shape
    return {**found, **numbers, "masked": takes.masked, "condition_shape": shape}


def _digest(split: Split, name: str) -> str:
    """Return 32 hexadecimal digits that tell what was given in memory beside the training images from others."""
    some = split.train.spread(DIGESTED)
    given = Condition.of(some.condition(range(len(some))))
    part = {"mask": given.observed, "table": given.vector, "condition_images": given.image}[name]
    return hashlib.sha256(b"" if part is None else part.numpy().tobytes()).hexdigest()[:32]


def request_of(config: RunConfig) -> DataRequest:
    """Return the request that reads a run's data again.

    Raises:
        DataError: the model was imported, and its data is unknown; or the images were in memory.
    """
    data = config.data
    if data.in_memory:
        raise DataError(
            "the images were given to `nelbo.train` in memory and are not stored; give them again: set "
            f"{option('data')} where it is accepted, or call `run.bound(images)`, `run.score(images)` or "
            "`nelbo.runs.fit_codec(run, images)` in Python."
        )
    if data.spec == UNKNOWN_DATA:
        raise DataError(
            "the model was imported without its images, so they cannot be read again; use a run that was trained here, "
            f"or set {option('data')} where it is accepted."
        )
    if any((getattr(data, name) or "").startswith(MEMORY_PREFIX) for name in BESIDE):
        raise DataError(
            "what lies beside the images was given to `nelbo.train` in memory and is not stored; call `run.bound` in "
            "Python with a `nelbo.data.ConditionedDataset`."
        )
    options = {name: getattr(data, name) for name in (*BESIDE, "quantum")}
    options["num_images"] = data.num_train + data.num_held_out if is_stream(data.spec) else None
    return DataRequest(data.spec, data.size, data.mode, data.held_out, range=data.range or FULL, **options)


def data_of(run: Run, listener: Listener | None = None) -> Split:
    """Read the data of a run again, in the same two parts; of a stream, the first images of the training part.

    Raises:
        DataError: the data is missing or unknown, or its number of images has changed, so that the held-out images can
            no longer be determined.

    Warns:
        DataWarning: as many images, but other names, so that training images may be among the held-out ones.
    """
    data, seed = run.config.data, run.config.recipe.training.seed
    try:
        split = read_split(request_of(run.config), workers=None, seed=seed, listener=listener or Listener())
    except DataError as error:
        absent = None if os.path.exists(data.spec) else _absent(run)  # a damaged folder has a reason of its own
        raise DataError(absent or f"the data of {run.folder} cannot be read again: {error.marked}") from error
    found, known = (len(split.train), len(split.test)), (data.num_train, data.num_held_out)
    if found != known:
        if absent := _absent(run):
            raise DataError(f"{data.spec} has {sum(found)} images, not the {sum(known)} of the model; {absent}")
        raise DataError(
            f"{data.spec} had {sum(known)} images when {run.folder} was trained and has {sum(found)} now, so its "
            f"held-out images can no longer be determined; set {option('data')} to images that the model has never "
            "seen."
        )
    if data.names not in (None, split.names):
        warn(
            f"image files were added, removed or renamed in {data.spec} since {run.folder} was trained, so its "
            f"held-out images may include training images; set {option('data')} to images that the model has never "
            "seen.",
            DataWarning,
        )
    return replace(split, train=split.train.at_random())


def _absent(run: Run) -> str | None:
    """Say that the images of a bundled model are not bundled, if they came from a folder; None for other runs."""
    spec = run.config.data.spec
    if spec in BUILT_IN or run.folder not in bundled_models().values():
        return None
    return (
        f"the images of the bundled model {spec} are not part of nelbo; its card in the documentation says how to make "
        f"them. Put them into a folder {spec}, or set {option('data')} to other images where it is accepted."
    )


def held_out_part(run: Run, listener: Listener | None = None) -> ImageDataset:
    """Read the images that a run held out.

    Raises:
        DataError: the data is missing or unknown, its number of images has changed, or its held-out part is empty.
    """
    return data_of(run, listener).require_test()
