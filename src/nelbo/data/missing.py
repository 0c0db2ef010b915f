"""NaN in arrays of images: missing pixels."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from nelbo.data.arrays import as_missing, known_values
from nelbo.data.beside import Beside
from nelbo.data.inputs import as_array
from nelbo.errors import DataError, option


def without_nan(images: Any, beside: Beside) -> tuple[Any, Beside]:
    """Return an array or tensor with its NaN, which are missing pixels, replaced, and a mask of them beside it.

    Anything else, and an array without NaN, is returned as it is; see `known_values`.
    """
    if not isinstance(images, np.ndarray | Tensor) or isinstance(images, np.ma.MaskedArray):
        return images, beside
    found, missing = known_values(as_array(images), "the array")
    return (images, beside) if missing is None else (found, with_missing(beside, as_missing(missing), "the images"))


def with_missing(beside: Beside, missing: Tensor | None, name: str) -> Beside:
    """Return what lies beside images, with the mask of their NaN.

    Raises:
        DataError: there are both NaN and a mask.
    """
    if missing is None:
        return beside
    if beside.mask is not None:
        raise DataError(f"{name} have NaN, which are missing pixels; leave out {option('mask')}, or fill them in.")
    return replace(beside, mask=missing)
