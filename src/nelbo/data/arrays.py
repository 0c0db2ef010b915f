"""Images in NumPy's `.npy` and `.npz` files."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.datasets import ArrayDataset, Loaded
from nelbo.data.depth import to_levels
from nelbo.data.folders import DataWarning
from nelbo.data.names import AUTO, FULL, Range
from nelbo.data.stored import printable
from nelbo.display import counted
from nelbo.errors import DataError, option, warn
from nelbo.files import refuse_pointer

Array = NDArray[Any]
MAX_CLASSES = 1_000_000
ARRAY_KINDS = ("arrays", "memory")  # the sources that are not made of files of images
CHUNK = 1024  # images that are looked at together
DARK = 32  # a set whose levels are all below it is nearly black


def load_arrays(path: Path, range: Range | str = AUTO) -> Loaded:
    """Load a `.npy` file of images, or a `.npz` file of `images` and optional `labels`, `levels` and `class_names`.

    A `.npz` file with a single array may give it any name; `arr_0` and `arr_1`, the names that NumPy gives, are images
    and labels. Images are N x H x W, N x H x W x C or N x C x H x W with C = 1 or 3, uint8 or of a type that
    `as_levels` converts. `levels` is K, 256 if absent. `labels` are integers (N,), -1 for no class. Pickled objects are
    never loaded.

    Args:
        range: see `as_levels`.

    Raises:
        DataError: the file is damaged, or an array has another type, shape or range; a pixel of value K or more.
    """
    arrays = _read(path)
    levels = arrays.get("levels", np.asarray(256))
    if levels.shape != () or levels.dtype.kind not in "iu":
        raise DataError(f"{path}: `levels` is {levels.dtype} of shape {levels.shape}; expected one whole number.")
    pixels, num_levels = as_levels(arrays["images"], str(path), range)
    images = as_images(pixels, str(path))
    labels = _as_labels(arrays["labels"], len(images), path) if "labels" in arrays else None
    class_names: tuple[str, ...] = ()
    if labels is not None:
        number = max(int(labels.max()) + 1, 0)
        class_names = tuple(map(str, np.atleast_1d(arrays.get("class_names", np.arange(number)))))
        if len(class_names) < number:
            raise DataError(
                f"{path}: `class_names` has {counted(len(class_names), 'name')}, but the labels go up to {number - 1}; "
                "give one name per label."
            )
    known = int(levels) if "levels" in arrays else num_levels
    if not 2 <= known <= 256:
        raise DataError(f"{path}: levels is {known}; expected 2 to 256, or for more {option('quantum', 1)}.")
    dataset = ArrayDataset(images, known, labels, printable(path.stem), class_names)
    given = arrays["images"]
    return Loaded("arrays", dataset, limits=limits_of(given, range), are_values=are_values(given, range))


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name, the images as `images`.

    Raises:
        DataError: the file is damaged, or holds pickled objects or no images.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"images": content}
        with content:
            arrays = {name: content[name] for name in content.files}
    except Exception as error:  # damage makes the decoders raise almost any error: zlib.error, SyntaxError, MemoryError
        refuse_pointer(path, DataError)
        raise DataError(
            f"{path} cannot be read ({_cause(error)}); expected a {path.suffix} file of arrays without pickled "
            "objects. Copy a damaged file again."
        ) from error
    if damaged := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise DataError(f"{path}: {damaged[0]!r} is no array; the file is damaged: copy or save it again.")
    if "images" not in arrays and len(arrays) == 1:
        return {"images": next(iter(arrays.values()))}
    if set(arrays) == {"arr_0", "arr_1"}:
        return {"images": arrays["arr_0"], "labels": arrays["arr_1"]}
    if "images" not in arrays:
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'no array'}; expected `images` and optionally `labels`, `levels` and "
            "`class_names`."
        )
    return arrays


def _cause(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


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
    return (
        f"from {low} to {high}; expected uint8, levels 0..255. Train with {option('range', f'{low},{high}')} or other "
        "values that become 0 and 255, or scale it first, for example "
        f"(255 * (x.astype(float) - {low}) / ({high} - {low})).round().astype('uint8')."
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


def _as_labels(array: Array, number: int, path: Path) -> Tensor:
    """Check the labels of `number` images and return them as int64 (N,)."""
    if array.shape != (number,) or array.dtype.kind not in "iu":
        raise DataError(
            f"{path}: `labels` is {array.dtype} of shape {array.shape}; expected {counted(number, 'whole number')}."
        )
    if array.min() < -1 or array.max() >= MAX_CLASSES:
        raise DataError(
            f"{path}: labels range from {array.min()} to {array.max()}; expected 0..{MAX_CLASSES - 1:,}, or -1 for no "
            "class."
        )
    return torch.from_numpy(array.astype(np.int64))
