"""From arrays of any type and layout to images of levels."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.datasets import Loaded
from nelbo.data.depth import to_levels
from nelbo.data.folders import DataWarning
from nelbo.data.names import AUTO, FULL, Range
from nelbo.display import counted
from nelbo.errors import DataError, option, warn

Array = NDArray[Any]
ARRAY_KINDS = ("arrays", "memory")  # the sources that are not made of files of images
CHUNK = 1024  # images that are looked at together
DARK = 32  # a set whose levels are all below it is nearly black


def known_values(array: Array, name: str) -> tuple[Array, NDArray[np.bool_] | None]:
    """Return an array with its NaN, which are missing pixels, replaced, and where they were; None if nowhere.

    The value in place of NaN is the smallest of the array, so that the range of the values stays the same; it is never
    read. An array of NaN only is returned as it is.

    Warns:
        DataWarning: there is NaN.
    """
    if array.dtype.kind != "f" or not (missing := np.isnan(array)).any() or missing.all():
        return array, None
    warn(f"{name} has NaN ({missing.mean():.2%} of its values): missing pixels, which no model reads.", DataWarning)
    return np.where(missing, np.nanmin(array), array), missing


def as_missing(missing: NDArray[np.bool_] | None) -> Tensor | None:
    """Return a mask in the layout of images, bool (N, C, H, W)."""
    return None if missing is None else as_images(missing.astype(np.uint8), "the mask").bool()


def as_levels(array: Array, name: str, range: Range | str = AUTO) -> tuple[Array, int]:
    """Convert an array of another type to uint8 where this is clear, and return it with K, its number of levels.

    Integers within 0..255 stay as they are, floats within 0..1 become round(255 x), bool becomes two levels. Values
    that are not finite need a range: infinity is clipped to it, and NaN becomes its lower end.

    Args:
        range: the values that become 0 and 255; see `limits_of` for those of each type. By "full", those of uint16 are
            0 and 65535, and other types are converted as by "auto", as above.

    Raises:
        DataError: other values.

    Warns:
        DataWarning: values were mapped from a range or rounded, or bool became two levels.
    """
    limits = limits_of(array, range)
    if array.dtype == np.uint8 and limits is None:
        return array, 256
    if array.dtype.kind not in "biuf" or not array.size:
        raise DataError(f"{name} holds {array.dtype} of shape {array.shape}; expected images as uint8, levels 0..255.")
    if array.dtype.kind == "b":
        warnings.warn(f"{name} holds bool, so its images have two levels (K = 2).", DataWarning, stacklevel=2)
        return array.astype(np.uint8), 2
    low, high = array.min(), array.max()
    if limits is not None:
        _warn_of_range(array, name, limits)
        return to_levels(array, limits), 256
    if _within_1(array):
        warnings.warn(f"{name} holds {array.dtype} within 0..1; x became round(255 x).", DataWarning, stacklevel=2)
        return np.rint(array * 255).astype(np.uint8), 256
    if low >= 0 and high <= 255 and (array == np.rint(array)).all():
        return array.astype(np.uint8), 256
    raise DataError(f"{name} holds {array.dtype} {_advice(array, low, high)}")


def _within_1(array: Array) -> bool:
    """Return whether an array has fractions of white, which are scaled to levels: floating-point values within 0..1."""
    return array.dtype.kind == "f" and bool(array.size and array.min() >= 0 and array.max() <= 1)


def require_one_scale(arrays: Sequence[Array]) -> None:
    """Check that the floating-point arrays of a list are all fractions of white or all levels.

    Raises:
        DataError: one is within 0..1, and another is not.
    """
    fractions = [_within_1(array) for array in arrays if array.dtype.kind == "f" and array.any()]  # black is both
    if any(fractions) and not all(fractions):
        raise DataError(
            f"{sum(fractions)} of the {counted(len(fractions), 'floating-point array')} of the list "
            f"{'is' if sum(fractions) == 1 else 'are'} within 0..1 and the rest not, so their scale is not clear; give "
            "all of them on one scale, such as uint8."
        )


def _advice(array: Array, low: Any, high: Any) -> str:
    """Say which values an array has that are no levels, from the smallest to the largest, and what to do."""
    if not (np.isfinite(low) and np.isfinite(high)):
        count = counted(int((~np.isfinite(array)).sum()), "value that is", "values that are")
        return (
            f"with {count} not finite (NaN or infinity); expected uint8, levels 0..255. Replace these values, for "
            "example by numpy.nan_to_num(x), or leave out their images."
        )
    if low == high:
        return (
            f"and all its values are {low}, from which no range follows; expected uint8, levels 0..255. Check the "
            f"data, or give the values that become 0 and 255, such as {option('range', '0,1000')}."
        )
    quantum = 1 if array.dtype.kind in "iu" else 0.01
    return (
        f"from {low} to {high}; expected uint8, levels 0..255. Train with {option('range', f'{low},{high}')} or other "
        f"values that become 0 and 255, keep the values by {option('quantum', quantum)}, or scale them first, for "
        f"example (255 * (x.astype(float) - {low}) / ({high} - {low})).round().astype('uint8')."
    )


def warn_of_low_levels(source: Loaded) -> None:
    """Issue a `DataWarning` if images of 256 levels in memory have only a few low ones, so that they are nearly black.

    Such are images whose levels are all 0 or 1, and two or more images from arrays whose values are all below `DARK`:
    levels 0..16, or numbers of classes. Values that were mapped or scaled and a single image may be dark.
    """
    dataset = source.train
    if source.kind not in ARRAY_KINDS or source.test is not None or not dataset.in_memory or dataset.levels != 256:
        return
    top, enough = 0, DARK if source.are_values and len(dataset) > 1 else 2
    for some in torch.arange(len(dataset)).split(CHUNK):
        if (top := max(top, int(dataset.images(some).max()))) >= enough:
            return
    if top > 1:
        warn(
            f"{dataset.name} holds no value above {top} of the levels 0..255, so its images are nearly black; if {top} "
            f"is white, set {option('range', f'0,{top}')}.",
            DataWarning,
        )
    if top == 1:
        warn(
            f"{dataset.name} holds only 0 and 1 of the levels 0..255, so its images are nearly black; for images of "
            "two levels (K = 2) give bool, such as x.astype(bool), and for black and white 255 * x.",
            DataWarning,
        )


def limits_of(array: Array, range: Range | str) -> Range | None:
    """Return the values that become 0 and 255 in an array by a range; None if its values are taken as levels.

    A range applies to uint8 only if it lies within 0..255: a model of deeper images keeps its range, and takes uint8 as
    levels.
    """
    if range == FULL and array.dtype == np.uint16 and array.max(initial=0) > 255:
        return (0, 65535)
    if isinstance(range, str) or array.dtype.kind == "b":
        return None
    return None if array.dtype == np.uint8 and not 0 <= range[0] < range[1] <= 255 else range


def are_values(array: Array, range: Range | str) -> bool:
    """Return whether the values of an array become levels as they are: they are neither mapped nor scaled."""
    return limits_of(array, range) is None and not _within_1(array)


def _warn_of_range(array: Array, name: str, limits: Range) -> None:
    known = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    low, high = (known.min(), known.max()) if known.size else limits
    outside = "; values outside are clipped" if low < limits[0] or high > limits[1] else ""
    replaced = f"; NaN became {limits[0]:.12g}" if known.size < array.size else ""
    warn(
        f"{name} holds {array.dtype} from {low} to {high}; {limits[0]:.12g}..{limits[1]:.12g} became 0..255"
        f"{outside}{replaced}.",
        DataWarning,
    )


def as_images(array: Array, name: str, channels: int | None = None) -> Tensor:
    """Convert uint8 images of any layout to a tensor (N, C, H, W): also one image, H x W, H x W x C or C x H x W.

    Args:
        channels: C of the model that takes the images. It decides between one image and several grey ones.

    Raises:
        DataError: the array is empty, of another shape, or of one that can be understood in two ways.
    """
    if 0 in array.shape:
        raise DataError(f"{name} is empty: its images have the shape {array.shape}.")
    shape = array.shape
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 3:
        array = _one_or_several(array, name, channels)
    first, last = (array.shape[1] in (1, 3), array.shape[3] in (1, 3)) if array.ndim == 4 else (False, False)
    if not first and not last:
        raise DataError(
            f"{name} has the shape {shape}; expected H x W, N x H x W, N x H x W x C or N x C x H x W with C = 1 or 3 "
            f"channels{', such as array[..., :3]' if shape[-1:] == (4,) else ''}."
        )
    if first and last:
        raise DataError(
            f"{name} has the shape {shape}, where two axes can be the channels; give grey images as N x H x W, or pass "
            "N x C x H x W to nelbo.data.ArrayDataset."
        )
    return torch.from_numpy(np.ascontiguousarray(array if first else array.transpose(0, 3, 1, 2)))


def _one_or_several(array: Array, name: str, channels: int | None) -> Array:
    """Return an array of three axes as (N, C, H, W) or (N, H, W, C): one image, or N grey ones.

    Raises:
        DataError: it can be both.
    """
    first, last = array.shape[0] == 3, array.shape[2] in (1, 3, 4)
    if not first and not last:
        return array[:, None]
    known = channels is not None and array.shape[2] != 4 and (last or channels == 3)
    if known or (first and array.shape[2] in (1, 3)):
        return array[None]
    n, height, width = array.shape
    rows, columns, colours = (n, height, width) if last else (height, width, n)
    one = "array[None, ..., :3], without its fourth channel" if colours == 4 else "array[None]"
    raise DataError(
        f"{name} has the shape {array.shape}, which can be one image of {rows} x {columns} pixels and "
        f"{counted(colours, 'channel')} or {counted(n, 'grey image')} of {height} x {width} pixels; give one image as "
        f"{one}, and grey images as array[:, None]."
    )
