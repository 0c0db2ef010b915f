"""Sets of images, tensors C x H x W of levels 0..K-1, and their split into training and held-out part."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nelbo.condition import Condition, ConditionLike
from nelbo.data.names import Range
from nelbo.data.scale import LevelScale, check_levels, dtype_of
from nelbo.display import Displayed, counted, pngs
from nelbo.errors import DataError, ShapeError, option

MOST_SHOWN, MOST_CLASSES = 12, 10  # images in a notebook, and classes by name


@dataclass(frozen=True)
class Reject:
    """A file that looks like an image but cannot be used, with the reason in words."""

    path: str
    reason: str


class ImageDataset(Displayed, Dataset[Tensor], ABC):
    """Images of one shape. Subclass it to train on images from a source of your own.

    A subclass defines `__len__`, `images` and `subset`. All values must be a function of the index alone, because
    worker processes and resumed runs read the same images again.

    >>> class Ramps(ImageDataset):
    ...     "Image i has the pixels i, i + 1, ..., i + 7, in two rows."
    ...
    ...     def __init__(self, first):
    ...         super().__init__("ramps", (1, 2, 4), levels=256, labels=None, class_names=(), rejects=())
    ...         self.first = torch.as_tensor(first)
    ...
    ...     def __len__(self):
    ...         return len(self.first)
    ...
    ...     def images(self, indices):
    ...         pixels = self.first[torch.as_tensor(indices), None] + torch.arange(8)
    ...         return pixels.to(torch.uint8).view(-1, *self.shape)
    ...
    ...     def subset(self, indices):
    ...         return Ramps(self.first[indices])
    >>> ramps = Ramps(range(100))
    >>> ramps[3].tolist()
    [[[3, 4, 5, 6], [7, 8, 9, 10]]]
    >>> split = Split(train=ramps.subset(torch.arange(90)), test=ramps.subset(torch.arange(90, 100)))
    >>> len(split.train), len(split.require_test())
    (90, 10)

    Attributes:
        name: the name of the set in reports.
        shape: (C, H, W) of every image.
        levels: K; pixels are integers 0..K-1.
        labels: int64 (N,), -1 for an image without a class; None if no image has a class.
        class_names: the name of each class, by label.
        rejects: files that were left out, with reasons.
        in_memory: whether the pixels are in memory; if not, `images` decodes them at each call.
        window: the number of images within which training shuffles a set that is read from its beginning; None for a
            set whose images can be read in any order.
    """

    in_memory: bool = True
    window: int | None = None

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
    def __len__(self) -> int:
        """Return the number of images N."""

    @abstractmethod
    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the images at `indices`, (n, C, H, W): uint8, or int32 if they have more than 256 levels."""

    @abstractmethod
    def subset(self, indices: Tensor) -> "ImageDataset":
        """Return a set of the same kind with the images at `indices` (int64) only, in that order."""

    def observed(self, indices: Tensor | Sequence[int]) -> Tensor | None:
        """Return which pixels of the images at `indices` are known, (n, C or 1, H, W) bool; None if all are.

        The level of a missing pixel is 0 by convention and never read.
        """
        return None

    def condition(self, indices: Tensor | Sequence[int]) -> ConditionLike | None:
        """Return the condition of a network for the images at `indices`: labels int64 (n,), a `Condition`, or None."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        label = None if self.labels is None else self.labels[chosen]
        return Condition(label, observed=self.observed(chosen)).simplest

    @property
    def title(self) -> str:
        """The class and the name of the set."""
        return f"{type(self).__name__} {self.name}"

    def summary(self) -> Mapping[str, str]:
        """Return the number of images, their shape, and the classes."""
        shape = " x ".join(map(str, self.shape))
        rows = {"images": f"{counted(len(self), 'image')}, {shape} (C x H x W), {self.levels} levels"}
        if self.class_names:
            pairs = zip(self.class_names[:MOST_CLASSES], self.class_counts, strict=False)
            more = ", ..." if len(self.class_names) > MOST_CLASSES else ""
            rows["classes"] = ", ".join(f"{name} {count:,}" for name, count in pairs) + more
        if self.rejects:
            rows["left out"] = counted(len(self.rejects), "file")
        return rows

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return a few images, evenly spread over the set."""
        if self.shape[0] not in (1, 3) or not len(self):
            return {}
        some = self.spread(MOST_SHOWN)
        return {f"{len(some)} of {len(self):,}": pngs(some.images(range(len(some))), self.levels)}

    @property
    def class_counts(self) -> tuple[int, ...]:
        """The number of images of each class, by label; empty if the set has no classes."""
        if self.labels is None or not self.class_names:
            return ()
        number = len(self.class_names)
        labels = self.labels[(self.labels >= 0) & (self.labels < number)]
        return tuple(torch.bincount(labels, minlength=number).tolist())

    def spread(self, most: int) -> "ImageDataset":
        """Return at most `most` images, evenly spread over the set, so that sets sorted by class keep every class."""
        num = min(most, len(self))
        return self.subset(torch.arange(num) * len(self) // max(num, 1))

    def at_random(self) -> "ImageDataset":
        """Return images that can be read in any order: this set; of one that is read from its beginning, the first."""
        return self

    def located(self) -> "ImageDataset":
        """Return the set for another process: files by absolute paths, because its working folder may differ."""
        return self

    def require_levels(self, levels: int) -> None:
        """Check that the images have `levels` levels, the model's K; otherwise bits/dim have another meaning.

        Raises:
            DataError: they have another number of levels.
        """
        if self.levels != levels:
            raise DataError(
                f"{self.name} has {self.levels} levels and the model was trained on {levels}: their bits cannot be "
                "compared."
            )

    def __getitem__(self, index: int) -> Tensor:
        """Return one image (C, H, W)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a set of {len(self)}")
        return self.images([index % len(self)])[0]


class ArrayDataset(ImageDataset):
    """Images held in memory.

    Args:
        images: (N, C, H, W): uint8, or int32 if they have more than 256 levels.
        levels: K, 2..65,536.
        labels: int64 (N,), -1 for an image without a class, or None.
        level_scale: the values that the levels stand for, if they are measured ones.

    Raises:
        ShapeError: `images` or `labels` has another type or shape.
        DataError: a pixel has a value of K or more.
    """

    def __init__(
        self,
        images: Tensor,
        levels: int = 256,
        labels: Tensor | None = None,
        name: str = "array",
        class_names: Sequence[str] = (),
        rejects: Sequence[Reject] = (),
        *,
        level_scale: LevelScale | None = None,
    ) -> None:
        if images.dtype != (expected := dtype_of(levels)) or images.ndim != 4:
            raise ShapeError(
                f"{name}: images are {images.dtype} of shape {tuple(images.shape)}; expected {expected} (N, C, H, W)."
            )
        if labels is not None and labels.shape != (len(images),):
            raise ShapeError(
                f"{name}: {tuple(labels.shape)} labels for {counted(len(images), 'image')}; expected one label per "
                "image."
            )
        check_levels(images, levels, name)
        _, channels, height, width = images.shape
        super().__init__(
            name, (channels, height, width), levels, None if labels is None else labels.long(), class_names, rejects
        )
        self._images = images
        self.level_scale = level_scale

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return a copy of the images at `indices`, (n, C, H, W)."""
        return self._images[torch.as_tensor(indices, dtype=torch.int64)]

    def subset(self, indices: Tensor) -> "ArrayDataset":
        """Return a copy of the images at `indices` (int64), in that order, with the rejects of the whole set."""
        labels = None if self.labels is None else self.labels[indices]
        kept = self.name, self.class_names, self.rejects
        return ArrayDataset(self._images[indices], self.levels, labels, *kept, level_scale=self.level_scale)


@dataclass(frozen=True)
class Loaded:
    """Images in memory, the held-out part if the set has one of its own, and the range they were read by if known.

    Attributes:
        are_values: the levels are the values of an array as they were.
        missing: bool (N, C or 1, H, W), true for missing pixels of the training part; None if there are none.
    """

    kind: str
    train: ImageDataset
    test: ImageDataset | None = None
    limits: Range | None = None
    are_values: bool = False
    missing: Tensor | None = None


@dataclass(frozen=True)
class Split(Displayed):
    """The part to train on, and the held-out part to measure on. No image is in both.

    A set of one image has no held-out part: `test` is empty (length 0), training works, and `require_test` raises.

    Attributes:
        limits: the values that became 0 and 255 in images of more than 8 bits; None for those of their depth.
        names: digest of the names of the image files in their order, which determines the held-out part; None for a set
            that is not read from image files.
        level_scale: the values that the levels stand for, if they are measured ones.
    """

    train: ImageDataset
    test: ImageDataset
    limits: Range | None = None
    names: str | None = None
    level_scale: LevelScale | None = None

    def summary(self) -> Mapping[str, str]:
        """Return the set of the training part, and the size of both parts."""
        images = self.train.summary()
        return {**images, "held out": counted(len(self.test), "image")}

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return a few training images."""
        return self.train.pictures()

    def require_test(self) -> ImageDataset:
        """Return the held-out part.

        Raises:
            DataError: it is empty.
        """
        if len(self.test) == 0:
            raise DataError(
                f"{self.train.name} has {counted(len(self.train), 'image')} and none is held out, so there is no "
                f"unseen image to measure on; add images, or raise {option('held_out')}."
            )
        return self.test
