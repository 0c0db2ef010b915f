"""Measured values as a set to train on, split into a training part and a held-out part."""

import os
from dataclasses import replace
from pathlib import Path

import torch

from nelbo.data.beside import Beside
from nelbo.data.datasets import ArrayDataset, ImageDataset, Split
from nelbo.data.folders import DataWarning
from nelbo.data.held_out import split_off
from nelbo.data.names import Range, path_of
from nelbo.data.preparing import Prepared
from nelbo.data.scale import LevelScale
from nelbo.data.scanning import first
from nelbo.data.stored import StoredImage
from nelbo.data.values import Values, as_measured, read_values
from nelbo.display import counted
from nelbo.errors import DataError, option, warn


def warn_of_rounding(values: Values, scale: LevelScale) -> None:
    """Issue a `DataWarning` for values between the levels of a scale."""
    if rounded := sum(scale.rounds(array) for array in values.observed):
        warn(
            f"{values.name}: {counted(rounded, 'image has', 'images have')} values between the levels, which are "
            f"{scale.quantum:.12g} apart; they are rounded to the nearest level.",
            DataWarning,
        )


def measured_dataset(
    images: object, scale: LevelScale, beside: Beside | None = None, root: Path | None = None
) -> ImageDataset:
    """Return measured values as levels of a scale. NaN is a missing pixel.

    Args:
        images: an array, a tensor or a path; or `Values`.
        scale: the scale.
        beside: what lies beside the images.
        root: the folder of the images; None for images that are not files.

    Raises:
        DataError: a value is outside of the scale; or there are both NaN and a mask.
    """
    values, pairs = masked(images if isinstance(images, Values) else as_measured(images), beside or Beside(), root)
    warn_of_rounding(values, scale)
    return pairs.attached(values.levels(scale), _files(values, root), root)


def masked(values: Values, beside: Beside, root: Path | None) -> tuple[Values, Beside]:
    """Return values with the mask beside them, or with that of their NaN, which then is beside them.

    Raises:
        DataError: there are both NaN and a mask, or the mask does not fit.
    """
    if values.mask is not None:
        return values, beside
    nan, shape = values.nan, (len(values.arrays), *values.arrays[0].shape)
    if nan is not None:
        if beside.mask is not None:
            raise DataError(
                f"{values.name} has NaN, which are missing pixels; leave out {option('mask')}, or fill them in."
            )
        return replace(values, mask=nan), replace(beside, mask=nan)
    if beside.mask is None:
        return values, beside
    blank = ArrayDataset(torch.zeros(shape, dtype=torch.uint8), name=values.name)
    seen = Beside(mask=beside.mask).attached(blank, _files(values, root), root).observed(range(len(blank)))
    if seen is None:
        return values, beside
    mask = ~seen.expand(shape).numpy()
    return replace(values, mask=mask), replace(beside, mask=mask)


def _files(values: Values, root: Path | None) -> list[StoredImage] | None:
    return None if root is None else [StoredImage(name) for name in values.names]


def prepare_measured(spec: str, scale: LevelScale, beside: Beside | None = None) -> Prepared:
    """Load all images that a path names for a model of measured values.

    Raises:
        DataError: see `measured_dataset` and `read_values`.
    """
    values = read_values(spec)
    return Prepared(measured_dataset(values, scale, beside, path_of(spec)), values.names)


def load_measured(
    images: object,
    range: Range | str,
    quantum: float,
    held_out: float | None,
    on_reject: str,
    seed: int,
    beside: Beside,
) -> Split:
    """Load measured values; the arguments are those of `nelbo.data.load_data`.

    Raises:
        DataError: the data is missing, of several shapes, damaged, or has values outside of a given range.
        ConfigurationError: the quantum makes more than 65,536 levels.

    Warns:
        DataWarning: values are rounded to the nearest level, or files are left out.
    """
    values = as_measured(images)
    if values.rejects:
        reason = f"{values.name}: {counted(len(values.rejects), 'file')} cannot be used: {first(values.rejects)}"
        if on_reject == "stop":
            raise DataError(
                f"{reason}; repair or remove such files, or leave them out with {option('on_reject', 'skip')}."
            )
        warn(f"{reason}.", DataWarning)
    root = path_of(os.fspath(images)) if isinstance(images, str | os.PathLike) else None
    values, beside = masked(values, beside, root)
    scale = LevelScale.of(values.observed, range, quantum)
    return replace(split_off(measured_dataset(values, scale, beside, root), held_out, seed), level_scale=scale)
