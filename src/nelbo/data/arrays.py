"""Images in NumPy's `.npy` and `.npz` files."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.datasets import ArrayDataset
from nelbo.errors import DataError

Array = NDArray[Any]
MAX_CLASSES = 1_000_000


def load_arrays(path: Path) -> ArrayDataset:
    """Load a `.npy` file of images, or a `.npz` file of `images` and optional `labels`, `levels` and `class_names`.

    A `.npz` file with a single array may give it any name. Images are uint8: N x H x W, N x H x W x C or N x C x H x W
    with C = 1 or 3. `levels` is K, 256 if absent. `labels` are integers (N,), -1 for no class. Pickled objects are
    never loaded.

    Raises:
        DataError: the file is damaged, or an array has another type, shape or range; a pixel of value K or more.
    """
    arrays = _read(path)
    levels = arrays["levels"] if "levels" in arrays else np.asarray(256)
    if levels.shape != () or levels.dtype.kind not in "iu":
        raise DataError(f"{path}: `levels` is {levels.dtype} of shape {levels.shape}; expected one whole number.")
    images = _as_images(arrays["images"], path)
    labels = _as_labels(arrays["labels"], len(images), path) if "labels" in arrays else None
    class_names: tuple[str, ...] = ()
    if labels is not None:
        number = max(int(labels.max()) + 1, 0)
        class_names = tuple(map(str, arrays.get("class_names", np.arange(number))))
        if len(class_names) < number:
            raise DataError(
                f"{path}: `class_names` has {len(class_names)} names, but the labels go up to {number - 1}; give one "
                "name per label."
            )
    return ArrayDataset(images, int(levels), labels, path.stem, class_names)


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name, the images as `images`."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"images": content}
        with content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read ({error}); expected a {path.suffix} file of arrays without pickled objects."
        ) from error
    if "images" not in arrays and len(arrays) == 1:
        return {"images": next(iter(arrays.values()))}
    if "images" not in arrays:
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'no array'}; expected `images` and optionally `labels`, `levels` and "
            "`class_names`."
        )
    return arrays


def _as_images(array: Array, path: Path) -> Tensor:
    """Convert an array in any of the three layouts to a uint8 tensor (N, C, H, W)."""
    if array.dtype != np.uint8:
        hint = "multiply floats in [0, 1] by 255 and round, then " if array.dtype.kind == "f" else ""
        raise DataError(
            f"{path} holds {array.dtype}; expected uint8 with levels 0..255; {hint}save with .astype('uint8')."
        )
    if 0 in array.shape:
        raise DataError(f"{path} is empty: its images have the shape {array.shape}.")
    if array.ndim == 3:
        return torch.from_numpy(np.ascontiguousarray(array[:, None]))
    first, last = (array.shape[1] in (1, 3), array.shape[3] in (1, 3)) if array.ndim == 4 else (False, False)
    if not first and not last:
        raise DataError(
            f"{path} has the shape {array.shape}; expected N x H x W, N x H x W x C or N x C x H x W with C = 1 or 3 "
            "channels."
        )
    if first and last:
        raise DataError(
            f"{path} has the shape {array.shape}, where both the second and the last axis can be the channels; save "
            "grey images as N x H x W, or pass N x C x H x W to nelbo.data.ArrayDataset."
        )
    return torch.from_numpy(np.ascontiguousarray(array if first else array.transpose(0, 3, 1, 2)))


def _as_labels(array: Array, number: int, path: Path) -> Tensor:
    """Check the labels of `number` images and return them as int64 (N,)."""
    if array.shape != (number,) or array.dtype.kind not in "iu":
        raise DataError(f"{path}: `labels` is {array.dtype} of shape {array.shape}; expected {number} whole numbers.")
    if array.min() < -1 or array.max() >= MAX_CLASSES:
        raise DataError(
            f"{path}: labels range from {array.min()} to {array.max()}; expected 0..{MAX_CLASSES - 1:,}, or -1 for no "
            "class."
        )
    return torch.from_numpy(array.astype(np.int64))
