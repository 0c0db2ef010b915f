"""A set of images with what lies beside them: which pixels are observed, numbers, and images to condition on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
from nelbo.data.datasets import ImageDataset, Split
from nelbo.display import counted
from nelbo.errors import ConfigurationError, ShapeError, option


@dataclass(frozen=True)
class Scale:
    """How numbers are standardised: (value - mean) / stddev for each column.

    Attributes:
        columns: names of the columns.
        means, stddevs: of the training images; a constant column has a stddev of 1.
    """

    columns: tuple[str, ...]
    means: tuple[float, ...]
    stddevs: tuple[float, ...]

    @classmethod
    def of(cls, columns: Sequence[str], numbers: Tensor) -> "Scale":
        """Measure the columns of numbers (N, V), in which NaN is unknown."""
        known = ~numbers.isnan()
        count = known.sum(0).clamp(min=1)
        filled = numbers.double().nan_to_num(0.0)
        means = filled.sum(0) / count
        variances = ((filled - means).square() * known).sum(0) / count
        tiny = 1e-9 * (means.abs() + 1)  # a constant column has a stddev of rounding errors
        stddevs = torch.where(variances.sqrt() > tiny, variances.sqrt(), 1.0)
        return cls(tuple(columns), tuple(means.tolist()), tuple(stddevs.tolist()))

    def standardised(self, numbers: Tensor) -> Tensor:
        """Return numbers (n, V) standardised, float32."""
        means, stddevs = (torch.tensor(each, dtype=torch.float64) for each in (self.means, self.stddevs))
        return ((numbers.double() - means) / stddevs).float()


class ConditionedDataset(ImageDataset):
    """Images with a mask, numbers or a second image beside each.

    >>> from nelbo.data import ArrayDataset
    >>> images = ArrayDataset(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    >>> numbers = torch.tensor([[1.0], [2.0], [torch.nan]])
    >>> beside = ConditionedDataset(images, numbers=numbers, columns=("age",))
    >>> beside.condition([0, 2]).vector.flatten().tolist()  # standardised; the age of image 2 is unknown
    [-1.0, nan]

    Args:
        images: the images.
        observed: (N, C or 1, H, W) bool, false where a pixel is missing; None if none is.
        numbers: (N, V) float, NaN where unknown; or None.
        columns: names of the V numbers.
        paired: a second image for each, of the same size or smaller by a whole factor, by which its pixels are
            repeated; or None.
        scale: how the numbers are standardised; measured on this set if None.

    Raises:
        ShapeError: a part has another number of examples, or another shape.
    """

    def __init__(
        self,
        images: ImageDataset,
        *,
        observed: Tensor | None = None,
        numbers: Tensor | None = None,
        columns: Sequence[str] = (),
        paired: ImageDataset | None = None,
        scale: Scale | None = None,
    ) -> None:
        super().__init__(images.name, images.shape, images.levels, images.labels, images.class_names, images.rejects)
        self.base, self.masks, self.numbers, self.paired = images, observed, numbers, paired
        self.in_memory = images.in_memory and (paired is None or paired.in_memory)
        for name, part in (("masks", observed), ("rows of numbers", numbers), ("paired images", paired)):
            if part is not None and len(part) != len(images):
                raise ShapeError(
                    f"{images.name}: {len(part):,} {name} for {counted(len(images), 'image')}; give one for each."
                )
        if observed is not None and observed.shape[1:] not in (self.shape, (1, *self.shape[1:])):
            raise ShapeError(
                f"{images.name}: the masks are {tuple(observed.shape[1:])}, but the images {self.shape} (C x H x W)."
            )
        if numbers is not None:
            columns = columns or tuple(str(i) for i in range(numbers.shape[1]))
            scale = scale or Scale.of(columns, numbers)
            if len(scale.columns) != numbers.shape[1]:
                raise ShapeError(
                    f"{images.name}: {counted(numbers.shape[1], 'number')} for each image, but the columns are "
                    f"{', '.join(scale.columns)}."
                )
        self.scale = scale if numbers is not None else None
        _ = self.factor

    @cached_property
    def factor(self) -> int:
        """How often the pixels of the paired images are repeated in each direction."""
        if self.paired is None:
            return 1
        (_, height, width), (_, low, narrow) = self.shape, self.paired.shape
        factor = max(height // low, 1)
        if (low * factor, narrow * factor) != (height, width):
            raise ShapeError(
                f"{option('condition_images')} are {narrow}x{low}, but must be {width}x{height} like the images, or "
                "smaller by a whole factor."
            )
        return factor

    @property
    def takes(self) -> "Takes":
        """What a network for these images takes."""
        return Takes(
            None if self.scale is None else len(self.scale.columns),
            None if self.paired is None else self.paired.shape[0],
            self.masks is not None,
        )

    def __len__(self) -> int:
        return len(self.base)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the images at `indices`, of the type of the set's own; the level of a missing pixel is 0."""
        pixels, observed = self.base.images(indices), self.observed(indices)
        return pixels if observed is None else pixels.masked_fill(~observed, 0)

    def observed(self, indices: Tensor | Sequence[int]) -> Tensor | None:
        """Return which pixels are known; see `ImageDataset.observed`."""
        return None if self.masks is None else self.masks[torch.as_tensor(indices, dtype=torch.int64)]

    def condition(self, indices: Tensor | Sequence[int]) -> ConditionLike | None:
        """Return the condition of a network; see `ImageDataset.condition`."""
        chosen, vector, image = torch.as_tensor(indices, dtype=torch.int64), None, None
        if self.numbers is not None and self.scale is not None:
            vector = self.scale.standardised(self.numbers[chosen])
        if self.paired is not None:
            image = repeated(self.paired.images(chosen), self.paired.levels, self.factor)
        return replace(Condition.of(super().condition(chosen)), vector=vector, image=image).simplest

    def subset(self, indices: Tensor) -> "ConditionedDataset":
        """Return the images at `indices` (int64) with what lies beside them, in that order."""
        return ConditionedDataset(
            self.base.subset(indices),
            observed=None if self.masks is None else self.masks[indices],
            numbers=None if self.numbers is None else self.numbers[indices],
            paired=None if self.paired is None else self.paired.subset(indices),
            scale=self.scale,
        )

    def scaled_by(self, scale: Scale | None) -> "ConditionedDataset":
        """Return the set with its numbers standardised by another scale, such as that of a model.

        Raises:
            ConfigurationError: the columns have other names.
        """
        if self.scale is None or scale is None:
            return self
        if scale.columns != self.scale.columns:
            raise ConfigurationError(
                f"{option('table')} has the columns {', '.join(self.scale.columns)}; expected "
                f"{', '.join(scale.columns)}, in this order."
            )
        parts = {"observed": self.masks, "numbers": self.numbers, "paired": self.paired}
        return ConditionedDataset(self.base, scale=scale, **parts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Takes:
    """What a network takes beside x_t, t and a class.

    Attributes:
        size: V, the numbers of a vector, or None.
        channels: C' of an image to condition on, or None.
        masked: whether pixels may be missing.
    """

    size: int | None = None
    channels: int | None = None
    masked: bool = False


def repeated(levels: Tensor, num_levels: int, factor: int) -> Tensor:
    """Return images (n, C, h, w) as a condition: levels / (K - 1), (n, C, h * factor, w * factor) float32."""
    return (levels.float() / (num_levels - 1)).repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def taken_by(images: ImageDataset) -> Takes:
    """Return what a network for these images takes; a set of one's own with `observed` has missing pixels."""
    if isinstance(images, ConditionedDataset):
        return images.takes
    return Takes(masked=len(images) > 0 and images.observed([0]) is not None)


def of_one_scale(split: Split) -> Split:
    """Return a split whose numbers are standardised by the training images, in both parts."""
    if not isinstance(split.train, ConditionedDataset) or split.train.numbers is None or split.train.scale is None:
        return split
    scale = Scale.of(split.train.scale.columns, split.train.numbers)
    test = split.test.scaled_by(scale) if isinstance(split.test, ConditionedDataset) else split.test
    return replace(split, train=split.train.scaled_by(scale), test=test)
