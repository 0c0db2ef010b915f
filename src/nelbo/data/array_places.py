"""Arrays that are larger than memory: opened without being read."""

import math
import os
from pathlib import Path

import numpy as np

from nelbo.data.array_files import labels_among
from nelbo.data.arrays import Array, as_images, limits_of
from nelbo.data.datasets import Loaded
from nelbo.data.names import BUILT_IN, Range, path_of
from nelbo.data.npy_dataset import NpyDataset
from nelbo.data.zarr_files import ZarrDataset, is_zarr, open_zarr

ENDING = ".npy"
FEWEST = 5  # images: fewer might be the channels or the rows of one image


def in_place(spec: str, range: Range | str, memory_budget: int) -> Loaded | None:
    """Open a `.npy` file or a Zarr array of uint8 images that takes more than `memory_budget` bytes, else return None.

    Args:
        range: the values that become 0 and 255; a file to which it applies is not read in place.

    Raises:
        DataError: the shape of the array is not one of images.
    """
    path = path_of(spec)
    if is_zarr(path):
        return _zarr_in_place(path, range, memory_budget)
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


def _zarr_in_place(path: Path, range: Range | str, memory_budget: int) -> Loaded | None:
    arrays = open_zarr(path)
    key = "images" if "images" in arrays or len(arrays) != 1 else next(iter(arrays))
    array = arrays.get(key)
    if array is None or "levels" in arrays or array.dtype != np.uint8 or array.ndim < 3 or array.shape[0] < FEWEST:
        return None
    layout, num = tuple(array.shape[1:]), array.shape[0]
    if num * math.prod(layout) <= memory_budget or limits_of(np.empty(0, np.uint8), range) is not None:
        return None
    as_images(np.zeros((FEWEST, *layout), np.uint8), str(path))  # refuses what is no array of images
    beside: dict[str, Array] = {
        name: np.asarray(arrays[name][...]) for name in ("labels", "class_names") if name in arrays
    }
    labels, class_names = labels_among(beside, num, path)
    dataset = ZarrDataset(path.absolute(), key, layout, num, labels=labels, class_names=class_names)
    return Loaded("arrays", dataset, are_values=True)
