"""What every source of images becomes: uint8 tensors C x H x W of levels 0..K-1, and a held-out part."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nelbo.errors import DataError, ShapeError


def printable(path: Path | str) -> str:
    """A path as text that can be printed, whatever bytes its name has."""
    return os.fsencode(path).decode(errors="backslashreplace")


@dataclass(frozen=True)
class Reject:
    """A file that looked like an image and could not be used, with the reason in words."""

    path: str
    reason: str


class ImageDataset(Dataset[Tensor], ABC):
    """Images of one shape. `labels` is int64 (N,) or None; an image without a class has label -1.

    Attributes:
        name: what the set is called in reports.
        shape: (C, H, W) of every image.
        levels: K; pixels are integers 0..K-1.
        labels: int64 tensor (N,), or None when no image has a class.
        class_names: the name of each class, by label.
        rejects: files that were left out, with reasons.
        in_memory: whether images are there for the asking; if not, each is decoded when it is asked for.
    """

    in_memory: bool = True

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        levels: int,
        labels: Tensor | None,
        class_names: Sequence[str],
        rejects: Sequence[Reject],
    ) -> None:
        self.name = name
        self.shape = shape
        self.levels = levels
        self.labels = labels
        self.class_names = tuple(class_names)
        self.rejects = list(rejects)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """The images at `indices`, uint8 (n, C, H, W)."""

    @abstractmethod
    def subset(self, indices: Tensor) -> "ImageDataset":
        """The same kind of set, holding only `indices` (int64, in the order wanted)."""

    def spread(self, most: int) -> "ImageDataset":
        """At most so many of the images, evenly spread over the set, so that sets sorted by class keep every class."""
        num = min(most, len(self))
        return self.subset(torch.arange(num) * len(self) // max(num, 1))

    def require_levels(self, levels: int) -> None:
        """Check that the images are of a model's number of levels.

        Raises:
            DataError: they aren't, so that their bits would mean something else.
        """
        if self.levels != levels:
            raise DataError(
                f"{self.name} has {self.levels} levels and the model was trained on {levels}: their bits can't be "
                "compared."
            )

    def __getitem__(self, index: int) -> Tensor:
        """One image, uint8 (C, H, W)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a set of {len(self)}")
        return self.images([index % len(self)])[0]


class ArrayDataset(ImageDataset):
    """Images held in memory.

    Args:
        images: uint8 (N, C, H, W).
        levels: K, at most 256; a pixel of value K or more is a `DataError`.
        labels: int64 (N,) or None.
    """

    def __init__(
        self,
        images: Tensor,
        levels: int = 256,
        labels: Tensor | None = None,
        name: str = "array",
        class_names: Sequence[str] = (),
        rejects: Sequence[Reject] = (),
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ShapeError(
                f"{name}: images are {images.dtype} of shape {tuple(images.shape)}; expected torch.uint8 (N, C, H, W)"
            )
        if labels is not None and labels.shape != (len(images),):
            raise ShapeError(
                f"{name}: {tuple(labels.shape)} labels for {len(images)} images; expected one label an image"
            )
        check_levels(images, levels, name)
        _, channels, height, width = images.shape
        super().__init__(
            name, (channels, height, width), levels, None if labels is None else labels.long(), class_names, rejects
        )
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """A copy of the images at `indices`, uint8 (n, C, H, W)."""
        return self._images[torch.as_tensor(indices, dtype=torch.int64)]

    def subset(self, indices: Tensor) -> "ArrayDataset":
        """Only `indices` (int64, in the order wanted), copied; the rejects stay those of the whole set."""
        labels = None if self.labels is None else self.labels[indices]
        return ArrayDataset(self._images[indices], self.levels, labels, self.name, self.class_names, self.rejects)


@dataclass(frozen=True)
class Split:
    """The part to train on, and the held-out part to measure on.

    A set of one image has nothing to hold out: `test` is then empty (length 0), training goes on, and
    `require_test` refuses to measure. An image is never in both parts.
    """

    train: ImageDataset
    test: ImageDataset

    def require_test(self) -> ImageDataset:
        """The held-out part, or a `DataError` where it is empty."""
        if len(self.test) == 0:
            raise DataError(
                f"{self.train.name} has {len(self.train)} image(s) and none is held out, so nothing unseen is left to "
                "measure on; add images, or raise --held-out"
            )
        return self.test


def check_levels(images: Tensor, levels: int, name: str) -> None:
    """Refuse pixels that are no level 0..K-1, naming the value found."""
    if not 2 <= levels <= 256:
        raise DataError(f"{name}: levels is {levels}; images of 8 bits have between 2 and 256 levels")
    if images.numel() and levels < 256 and (top := int(images.max())) >= levels:
        raise DataError(f"{name}: a pixel has the value {top}, but with {levels} levels the largest is {levels - 1}")
