"""NaN in arrays of images: missing pixels."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from nelbo.data.arrays import as_images
from nelbo.data.beside import Beside
from nelbo.data.folders import DataWarning
from nelbo.data.inputs import as_array
from nelbo.data.names import path_of
from nelbo.errors import DataError, option, warn


def without_nan(images: Any, beside: Beside) -> tuple[Any, Beside]:
    """Return an array or tensor with its NaN, which are missing pixels, replaced, and a mask of them beside it.

    Anything else, and an array without NaN, is returned as it is. The value in place of NaN is the smallest of the
    array, so that the range of the values stays the same; it is never read.
    """
    if not isinstance(images, np.ndarray | Tensor) or isinstance(images, np.ma.MaskedArray):
        return images, beside
    array = as_array(images)
    if array.dtype.kind != "f" or not (missing := np.isnan(array)).any() or missing.all():
        return images, beside
    if beside.mask is not None:
        raise DataError(f"the images have NaN, which are missing pixels; leave out {option('mask')}, or fill them in.")
    warn(f"the array has NaN ({missing.mean():.2%} of its values): missing pixels, which no model reads.", DataWarning)
    mask = as_images(missing.astype(np.uint8), "the mask").bool()
    return np.where(missing, np.nanmin(array), array), replace(beside, mask=mask)


def array_with_nan(spec: Any) -> Any:
    """Return the array of a `.npy` file that has NaN, missing pixels; any other spec as it is."""
    if not isinstance(spec, str | os.PathLike) or not os.fspath(spec).lower().endswith(".npy"):
        return spec
    try:
        array = np.load(path_of(os.fspath(spec)), mmap_mode="r", allow_pickle=False)
    except Exception:  # damage makes NumPy raise almost any error; reading the images says what is wrong
        return spec
    has_nan = isinstance(array, np.ndarray) and array.dtype.kind == "f" and np.isnan(array).any()
    return np.asarray(array) if has_nan else spec
