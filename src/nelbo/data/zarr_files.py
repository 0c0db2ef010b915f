"""Zarr: arrays in chunks, in a folder or a zip file that ends in .zarr or .zarr.zip. The one home of `zarr`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nelbo.data.names import ZARR_ENDINGS, Mode, Size
from nelbo.data.npy_dataset import NpyDataset
from nelbo.data.stored import printable
from nelbo.errors import ConfigurationError, DataError


def is_zarr(path: Path) -> bool:
    """Return whether a path has the ending of Zarr and exists."""
    return path.name.lower().endswith(ZARR_ENDINGS) and os.path.exists(path)


def open_zarr(path: Path) -> dict[str, Any]:
    """Open the arrays of a Zarr store by name, without reading them; one array alone is called `images`.

    Raises:
        DataError: it is damaged.
        ConfigurationError: the package is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise ConfigurationError(f"{path} is a Zarr array, which needs zarr: pip install 'nelbo[zarr]'.") from error
    try:
        found = zarr.open(str(path), mode="r")
        return {"images": found} if isinstance(found, zarr.Array) else dict(sorted(found.arrays()))
    except Exception as error:  # damage makes it raise almost any error
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{printable(path)} cannot be read as Zarr ({cause}); copy a damaged one again.") from error


class ZarrDataset(NpyDataset):
    """Images that stay in a Zarr array and are read at each access, for arrays larger than memory.

    Each access reads whole chunks, so chunks of one or a few images are read fastest in the order of training.

    Args:
        path: the Zarr store.
        key: the name of the array in it.
        layout: the shape of an image in the array: (C, H, W), (H, W, C) or (H, W).
        num: N, the number of images of the set.
        places: int64 (N,), their places in the array; None for the first N.
        fit: the size and mode to which images are resized and converted; None for those of the array.
        labels: int64 (N,), -1 for an image without a class, or None.
        class_names: the name of each class.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        layout: tuple[int, ...],
        num: int,
        places: Tensor | None = None,
        fit: tuple[Size, Mode] | None = None,
        labels: Tensor | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__(path, layout, 0, num, places, fit)
        self.key, self.labels, self.class_names = key, labels, tuple(class_names)
        self._array: tuple[int, Any] | None = None  # with the process that opened it: it reads with threads

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    def subset(self, indices: Tensor) -> "ZarrDataset":
        """Return a set of the images at `indices` (int64), in that order."""
        labels, places = None if self.labels is None else self.labels[indices], self._places(indices)
        rest = (places, self.fit, labels, self.class_names)
        return ZarrDataset(self.path, self.key, self.layout, len(indices), *rest)

    def fitted(self, size: Size, mode: Mode) -> "ZarrDataset":
        """Return the set with its images resized, cropped and converted as they are read."""
        rest = (self.places, (size, mode), self.labels, self.class_names)
        return ZarrDataset(self.path, self.key, self.layout, self.num, *rest)

    def _read(self, places: list[int]) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        """Read the images at some places of the array, (n, *layout)."""
        if self._array is None or self._array[0] != os.getpid():
            self._array = os.getpid(), open_zarr(self.path).get(self.key)
        array = self._array[1]
        if array is None or tuple(array.shape[1:]) != tuple(self.layout) or array.shape[0] <= max(places, default=-1):
            raise DataError(f"{printable(self.path)} has changed since it was opened; load the set again.")
        if not places:
            return np.empty((0, *self.layout), np.uint8)
        try:
            return np.asarray(array.oindex[np.array(places)])
        except Exception as error:  # damage makes it raise almost any error
            cause = str(error).strip().partition("\n")[0] or type(error).__name__
            raise DataError(f"{printable(self.path)} cannot be read ({cause}); copy a damaged one again.") from error
