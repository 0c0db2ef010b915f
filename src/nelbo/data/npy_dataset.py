"""A set of images that stay in a `.npy` file."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo.data.arrays import as_images, limits_of
from nelbo.data.datasets import ImageDataset, Loaded
from nelbo.data.decoding import conform
from nelbo.data.names import BUILT_IN, CHANNELS, Mode, Range, Size, path_of
from nelbo.data.stored import printable
from nelbo.errors import DataError

ENDING = ".npy"
FEWEST = 5  # images: fewer might be the channels or the rows of one image


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
        places, size = self._places(torch.as_tensor(indices, dtype=torch.int64)).tolist(), math.prod(self.layout)
        content, at = bytearray(), -1
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
        array = np.frombuffer(content, np.uint8).reshape(len(places), *self.layout)
        images = _channels_first(array, str(self.path)) if places else torch.empty((0, *self.shape), dtype=torch.uint8)
        return conform(images, *self.fit) if self.fit is not None and places else images

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


def in_place(spec: str, range: Range | str, memory_budget: int) -> Loaded | None:
    """Open a `.npy` file of uint8 images that takes more than `memory_budget` bytes; None for any other spec.

    Args:
        range: the values that become 0 and 255; a file to which it applies is not read in place.

    Raises:
        DataError: the shape of the array is not one of images.
    """
    path = path_of(spec)
    if spec in BUILT_IN or path.suffix.lower() != ENDING or not os.path.isfile(path):
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # of almost any kind, for a damaged header; `load_arrays` then says what is wrong
        return None
    large = isinstance(array, np.memmap) and array.nbytes > memory_budget and len(array) >= FEWEST
    if not large or array.dtype != np.uint8 or not array.flags.c_contiguous or limits_of(array[:0], range) is not None:
        return None
    as_images(np.zeros((FEWEST, *array.shape[1:]), np.uint8), str(path))  # refuses what is no array of images
    return Loaded("arrays", NpyDataset(path.absolute(), array.shape[1:], array.offset, len(array)), are_values=True)
