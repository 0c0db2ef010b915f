"""Reading what lies beside images: masks of missing pixels, a table of numbers, and images to condition on."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.data.arrays import as_images
from nelbo.data.conditions import ConditionedDataset, Scale
from nelbo.data.datasets import ArrayDataset, ImageDataset
from nelbo.data.decoding import decode, to_tensor
from nelbo.data.folder_dataset import FolderDataset
from nelbo.data.inputs import WHITE, as_array, levels_of
from nelbo.data.names import IMAGE_ENDINGS, MEMORY_BUDGET, MODE_OF, path_of
from nelbo.data.stored import StoredImage, Unreadable, printable
from nelbo.data.tables import read_table
from nelbo.errors import DataError, option, shown


@dataclass(frozen=True)
class Beside:
    """What lies beside the images of a set, as the caller gives it.

    Attributes:
        mask: a folder of mask pictures with the names of the images, white where pixels are missing; or bool (H, W),
            (N, H, W) or (N, C, H, W), true where pixels are missing.
        table: a CSV file with the column `image` of file names and further columns of numbers; or numbers (N, V).
        condition_images: a folder of images with the names of the images; or an array, tensor or data set of N images.
    """

    mask: Any = None
    table: Any = None
    condition_images: Any = None

    @property
    def given(self) -> dict[str, Any]:
        """What is not None, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    def attached(
        self,
        images: ImageDataset,
        files: Sequence[StoredImage] | None,
        root: Path | None,
        resized: bool = False,
        columns: Sequence[str] = (),
    ) -> ImageDataset:
        """Return the images with what lies beside them.

        Args:
            files: the files of the images in their order, or None for images that are not read from files.
            root: the folder to which the names of files are relative.
            resized: whether the images are resized and cropped; folders beside them then are too.
            columns: names of numbers in memory; their places if empty.

        Raises:
            DataError: a name without its pair, a table that cannot be read, or files for images without names.
        """
        if not self.given:
            return images
        names = _Names(images, files, root, resized)
        numbers, named = self._numbers(names)
        return ConditionedDataset(
            images,
            observed=self._observed(names),
            numbers=numbers,
            columns=named or columns,
            paired=self._paired(names),
        )

    def _observed(self, names: "_Names") -> Tensor | None:
        if self.mask is None:
            return None
        if isinstance(self.mask, str | os.PathLike):
            pictures = names.pairs_in(self.mask, "mask", names.images.shape[1:], 1)
            white = pictures.images(range(len(pictures)))
            return white < (1 if names.resized else WHITE)
        return _as_observed(self.mask, names.images)

    def _numbers(self, names: "_Names") -> tuple[Tensor | None, Sequence[str]]:
        if self.table is None:
            return None, ()
        if isinstance(self.table, str | os.PathLike):
            return read_table(Path(self.table), names.relative("table"))
        numbers = torch.as_tensor(as_array(torch.as_tensor(self.table), "the table")).double()
        numbers = numbers[:, None] if numbers.ndim == 1 else numbers
        if numbers.ndim != 2 or len(numbers) != len(names.images):
            raise DataError(
                f"{option('table')} is {shown(self.table)}; expected {len(names.images)} x V numbers, a row for each "
                "image."
            )
        return numbers, ()

    def _paired(self, names: "_Names") -> ImageDataset | None:
        given = self.condition_images
        if given is None or isinstance(given, ImageDataset):
            return given
        if isinstance(given, str | os.PathLike):
            return names.pairs_in(given, "condition_images", None, None)
        pixels, levels = levels_of(given, 256)
        if pixels.ndim == 3 and len(pixels) == len(names.images):
            pixels = pixels[:, None]  # grey images, one for each
        return ArrayDataset(as_images(pixels.numpy(), "the images to condition on"), levels)


@dataclass(frozen=True)
class _Names:
    """The images and the names of their files."""

    images: ImageDataset
    files: Sequence[StoredImage] | None
    root: Path | None
    resized: bool

    def relative(self, name: str) -> list[str]:
        """Return the name of each file relative to the root, for the option `name`.

        Raises:
            DataError: the images have no names.
        """
        if self.files is None or self.root is None:
            raise DataError(
                f"{option(name)} is matched by the names of image files, and {self.images.name} has none; give an "
                "array with an entry for each image, in Python."
            )
        start = self.root if self.root.is_dir() else self.root.parent
        return [os.path.relpath(file.path, start) for file in self.files]

    def pairs_in(
        self, folder: str | os.PathLike[str], name: str, size: tuple[int, ...] | None, channels: int | None
    ) -> ImageDataset:
        """Return the pictures in a folder with the names of the images, in their order.

        Args:
            name: the option that names the folder.
            size: (H, W) of the pictures; None for the images' own, or smaller by a whole factor.
            channels: of the pictures; None for those of the first.

        Raises:
            DataError: a picture is missing or cannot be read.
        """
        place, stored = path_of(os.fspath(folder)), []
        for relative, file in zip(self.relative(name), self.files or (), strict=True):
            stored.append(StoredImage(str(_pair(place, relative, name)), page=file.page))
        first = _decoded(stored[0], None, name)
        height, width = self.images.shape[1:] if size is None and self.resized else (size or first.shape[:2])
        shape = (channels or first.shape[2], height, width)
        kept = self.images.in_memory and len(stored) * math.prod(shape) <= MEMORY_BUDGET
        pixels = torch.empty((len(stored) if kept else 1, *shape), dtype=torch.uint8)
        for i, each in enumerate(stored):  # also of a large set: faults are known early
            pixels[i if kept else 0] = self._read(each, shape, name)
        if kept:
            return ArrayDataset(pixels, 256, name=printable(place))
        return FolderDataset(stored, shape, self.resized, name=printable(place))

    def _read(self, stored: StoredImage, shape: tuple[int, int, int], name: str) -> Tensor:
        """Decode a picture of a folder beside the images.

        Raises:
            DataError: it cannot be read, or has another size.
        """
        pixels = to_tensor(_decoded(stored, shape[1:] if self.resized else None, name), MODE_OF[shape[0]])
        if pixels.shape != shape:
            raise DataError(
                f"{stored.name} in {option(name)} is {pixels.shape[2]}x{pixels.shape[1]}; expected "
                f"{shape[2]}x{shape[1]}, as its image needs."
            )
        return pixels


def _decoded(stored: StoredImage, size: tuple[int, int] | None, name: str) -> NDArray[np.uint8]:
    """Decode a picture of the folder that the option `name` names, H x W x (1 or 3)."""
    try:
        return decode(stored, size).pixels
    except Unreadable as reason:
        raise DataError(f"{stored.name} in {option(name)} cannot be read: {reason}.") from None


def _pair(folder: Path, relative: str, name: str) -> Path:
    """Return the file of a folder with the name of an image, if need be with another ending."""
    exact = folder / relative
    if exact.is_file():
        return exact
    others = [exact.with_suffix(ending) for ending in IMAGE_ENDINGS if exact.with_suffix(ending).is_file()]
    if len(others) == 1:
        return others[0]
    raise DataError(
        f"{option(name)} has no picture for {printable(relative)}: {printable(exact)} is missing; every image needs "
        "one of the same name."
    )


def _as_observed(mask: Any, images: ImageDataset) -> Tensor:
    """Return a mask of missing pixels in memory as (N, C or 1, H, W) bool, true where observed."""
    array, shape = as_array(torch.as_tensor(mask), "the mask"), images.shape
    if array.dtype != np.bool_:
        raise DataError(f"{option('mask')} is {shown(mask)}; expected bool, true where pixels are missing.")
    missing = torch.from_numpy(array)
    if missing.shape == shape[1:]:
        missing = missing.expand(len(images), 1, *shape[1:])
    elif missing.shape == (len(images), *shape[1:]):
        missing = missing[:, None]
    elif missing.shape == (len(images), *shape[1:], shape[0]) and missing.shape[1:] != shape:
        missing = missing.permute(0, 3, 1, 2)
    if missing.shape[0] != len(images) or missing.shape[1:] not in (shape, (1, *shape[1:])):
        raise DataError(
            f"{option('mask')} has the shape {tuple(array.shape)}; expected {shape[1:]}, one mask for all, or "
            f"{(len(images), *shape[1:])}, one for each image."
        )
    return ~missing


def scale_of(images: ImageDataset) -> Scale | None:
    """Return how the numbers of a set are standardised, or None if it has none."""
    return images.scale if isinstance(images, ConditionedDataset) else None
