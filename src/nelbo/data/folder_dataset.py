"""A set of images that stay in their files."""

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nelbo.data.datasets import ImageDataset, Reject
from nelbo.data.decoding import pixels_of
from nelbo.data.names import MODE_OF, Range
from nelbo.data.stored import StoredImage, StoredImages
from nelbo.errors import DataError


class FolderDataset(ImageDataset):
    """Images that stay in their files and are decoded at each access, for sets larger than memory.

    `loader` reads it in worker processes. Reading a file that is missing, damaged or of another size than at the scan
    raises a `DataError`.

    Args:
        files: the files in the order of the set.
        shape: (C, H, W) of every image.
        fitted: whether images are resized and cropped to H x W; otherwise each must have that size.
        labels: int64 (N,), -1 for an image without a class, or None.
        limits: the values that become black and white in an image of more than 8 bits; None for those of its depth.
    """

    in_memory = False

    def __init__(
        self,
        files: Iterable[StoredImage],
        shape: tuple[int, int, int],
        fitted: bool,
        labels: Tensor | None = None,
        name: str = "folder",
        class_names: Sequence[str] = (),
        rejects: Sequence[Reject] = (),
        limits: Range | None = None,
    ) -> None:
        super().__init__(name, shape, 256, labels, class_names, rejects)
        self.files = files if isinstance(files, StoredImages) else StoredImages(files)
        self.fitted = fitted
        self.limits = limits

    def __len__(self) -> int:
        return len(self.files)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Decode the images at `indices`, uint8 (n, C, H, W). Raise a `DataError` for a file that has changed."""
        with warnings.catch_warnings(action="ignore"):
            pixels = [self._read(self.files[int(index)]) for index in indices]
        return torch.stack(pixels) if pixels else torch.empty((0, *self.shape), dtype=torch.uint8)

    def subset(self, indices: Tensor) -> "FolderDataset":
        """Return a set of the files at `indices` (int64), in that order, with the rejects of the whole set."""
        labels = None if self.labels is None else self.labels[indices]
        rest = (self.name, self.class_names, self.rejects, self.limits)
        return FolderDataset(self.files.taken(indices), self.shape, self.fitted, labels, *rest)

    def located(self) -> "FolderDataset":
        """Return the set with the absolute paths of its files, without the rejects."""
        rest = (self.labels, self.name, self.class_names, (), self.limits)
        return FolderDataset((file.located() for file in self.files), self.shape, self.fitted, *rest)

    def _read(self, stored: StoredImage) -> Tensor:
        channels, height, width = self.shape
        size = (height, width) if self.fitted else None
        pixels = pixels_of(stored, size, MODE_OF[channels], self.limits)
        if pixels.shape != self.shape:
            raise DataError(
                f"{stored.name} is now {pixels.shape[2]}x{pixels.shape[1]}, but was {width}x{height} when "
                "the set was scanned; load the set again."
            )
        return pixels
