"""Images in NumPy's `.npy` and `.npz` files, and in Zarr arrays."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo.data.arrays import Array, are_values, as_images, as_levels, as_missing, known_values, limits_of
from nelbo.data.datasets import ArrayDataset, Loaded
from nelbo.data.names import AUTO, Range
from nelbo.data.stored import printable
from nelbo.data.zarr_files import is_zarr, open_zarr
from nelbo.display import counted
from nelbo.errors import DataError, NelboError, option
from nelbo.files import refuse_pointer

MAX_CLASSES = 1_000_000


def load_arrays(path: Path, range: Range | str = AUTO) -> Loaded:
    """Load a `.npy` file of images, or a `.npz` file of `images` and optional `labels`, `levels` and `class_names`.

    A Zarr array is read as a `.npy` file, and a Zarr group as a `.npz` file. A `.npz` file with a single array may give
    it any name; `arr_0` and `arr_1`, the names that NumPy gives, are images and labels. Images are N x H x W,
    N x H x W x C or N x C x H x W with C = 1 or 3, uint8 or of a type that `as_levels` converts; NaN is a missing
    pixel. `levels` is K, 256 if absent. `labels` are integers (N,), -1 for no class. Pickled objects are never loaded.

    Args:
        range: see `as_levels`.

    Raises:
        DataError: the file is damaged, or an array has another type, shape or range; a pixel of value K or more.
    """
    arrays = _read(path)
    levels = arrays.get("levels", np.asarray(256))
    if levels.shape != () or levels.dtype.kind not in "iu":
        raise DataError(f"{path}: `levels` is {levels.dtype} of shape {levels.shape}; expected one whole number.")
    given, missing = known_values(arrays["images"], str(path))
    pixels, num_levels = as_levels(given, str(path), range)
    images = as_images(pixels, str(path))
    labels, class_names = labels_among(arrays, len(images), path)
    known = int(levels) if "levels" in arrays else num_levels
    if not 2 <= known <= 256:
        raise DataError(f"{path}: levels is {known}; expected 2 to 256, or for more {option('quantum', 1)}.")
    dataset = ArrayDataset(images, known, labels, printable(path.stem), class_names)
    limits, plain = limits_of(given, range), are_values(given, range)
    return Loaded("arrays", dataset, limits=limits, are_values=plain, missing=as_missing(missing))


def labels_among(arrays: Mapping[str, Array], number: int, path: Path) -> tuple[Tensor | None, tuple[str, ...]]:
    """Return the labels of `number` images, int64 (N,), and the names of the classes; None and () if there are none.

    Raises:
        DataError: they have another type, shape or range.
    """
    if "labels" not in arrays:
        return None, ()
    labels = _as_labels(arrays["labels"], number, path)
    count = max(int(labels.max()) + 1, 0)
    class_names = tuple(map(str, np.atleast_1d(arrays.get("class_names", np.arange(count)))))
    if len(class_names) < count:
        raise DataError(
            f"{path}: `class_names` has {counted(len(class_names), 'name')}, but the labels go up to {count - 1}; "
            "give one name per label."
        )
    return labels, class_names


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name, the images as `images`.

    Raises:
        DataError: the file is damaged, or holds pickled objects or no images.
    """
    try:
        if is_zarr(path):
            arrays = {name: np.asarray(array[...]) for name, array in open_zarr(path).items()}
        else:
            content = np.load(path, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"images": content}
            with content:
                arrays = {name: content[name] for name in content.files}
    except NelboError:
        raise
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
