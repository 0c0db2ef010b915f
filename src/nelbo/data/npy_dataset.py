"""A set of images that stay in a `.npy` file."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo.data.arrays import as_images
from nelbo.data.datasets import ImageDataset
from nelbo.data.decoding import conform
from nelbo.data.names import CHANNELS, Mode, Size
from nelbo.data.stored import printable
from nelbo.errors import DataError

ENDING = ".npy"


class NpyDataset(ImageDataset):
    """Images that stay in a `.npy` file and are read at each access, for arrays larger than memory.

    Reading a file that has become shorter raises a `DataError`.

    Args:
        path: the file, uint8 without pickled objects.
        layout: the shape of an image in the file: (C, H, W), (H, W, C) or (H, W).
        offset: of the first image in the file, in bytes.
        num: N, the number of images of the set.
        places: int64 (N,), their places in the file; None for the first N.
        fit: the size and mode to which images are resized and converted; None for those of the file.
    """

    in_memory = False

    def __init__(
        self,
        path: Path,
        layout: tuple[int, ...],
        offset: int,
        num: int,
        places: Tensor | None = None,
        fit: tuple[Size, Mode] | None = None,
    ) -> None:
        self.path, self.layout, self.offset, self.num, self.places, self.fit = path, layout, offset, num, places, fit
        stored = _channels_first(np.empty((1, *layout), np.uint8), str(path)).shape[1:]
        shape = stored if fit is None else (CHANNELS[fit[1]], *fit[0])
        super().__init__(printable(path.stem), (shape[0], shape[1], shape[2]), 256, None, (), ())

    def __len__(self) -> int:
        return self.num

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Read the images at `indices`, uint8 (n, C, H, W). Raise a `DataError` for a file that has changed."""
        places = self._places(torch.as_tensor(indices, dtype=torch.int64)).tolist()
        array = self._read(places)
        images = _channels_first(array, str(self.path)) if places else torch.empty((0, *self.shape), dtype=torch.uint8)
        return conform(images, *self.fit) if self.fit is not None and places else images

    def _read(self, places: list[int]) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        """Read the images at some places of the file, (n, *layout)."""
        content, at, size = bytearray(), -1, math.prod(self.layout)
        try:
            with open(self.path, "rb") as file:
                for place in places:
                    if at != place:  # seeking discards what is buffered
                        file.seek(self.offset + place * size)
                    content += file.read(size)
                    at = place + 1
        except OSError as error:
            raise DataError(f"{printable(self.path)} cannot be read: {error.strerror or error}.") from error
        if len(content) != len(places) * size:
            raise DataError(f"{printable(self.path)} is shorter than when it was opened; load the set again.")
        return np.frombuffer(content, np.uint8).reshape(len(places), *self.layout)

    def subset(self, indices: Tensor) -> "NpyDataset":
        """Return a set of the images at `indices` (int64), in that order."""
        return NpyDataset(self.path, self.layout, self.offset, len(indices), self._places(indices), self.fit)

    def fitted(self, size: Size, mode: Mode) -> "NpyDataset":
        """Return the set with its images resized, cropped and converted as they are read."""
        return NpyDataset(self.path, self.layout, self.offset, self.num, self.places, (size, mode))

    def _places(self, indices: Tensor) -> Tensor:
        """Return the places of images in the file."""
        return indices if self.places is None else self.places[indices]


def _channels_first(array: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", name: str) -> Tensor:
    """Return images of any layout as (N, C, H, W); those of two axes are grey, however many they are."""
    return as_images(array[:, None] if array.ndim == 3 else array, name)
