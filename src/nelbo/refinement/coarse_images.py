"""The coarse levels of a set of images: what the diffusion model of images of more than 256 levels is trained on."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.data import ImageDataset, Split
from nelbo.refinement.split import LevelSplit


class Coarse(ImageDataset):
    """The coarse levels, uint8, of a set of images of K > 256 levels.

    Args:
        images: the set.
    """

    def __init__(self, images: ImageDataset) -> None:
        self.fine, self.split = images, LevelSplit(images.levels)
        kept = images.labels, images.class_names, images.rejects
        super().__init__(images.name, images.shape, self.split.coarse_levels, *kept)
        self.in_memory = images.in_memory

    def __len__(self) -> int:
        return len(self.fine)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the coarse levels of the images at `indices`, uint8 (n, C, H, W)."""
        return self.split.coarse(self.fine.images(indices)).to(torch.uint8)

    def observed(self, indices: Tensor | Sequence[int]) -> Tensor | None:
        """Return which pixels are known, as in the whole set."""
        return self.fine.observed(indices)

    def condition(self, indices: Tensor | Sequence[int]) -> ConditionLike | None:
        """Return the condition of a network, as in the whole set."""
        return self.fine.condition(indices)

    def subset(self, indices: Tensor) -> "Coarse":
        """Return the coarse levels of a subset."""
        return Coarse(self.fine.subset(indices))


def coarse(images: ImageDataset) -> ImageDataset:
    """Return the coarse levels of a set; images of up to 256 levels stay as they are."""
    return images if images.levels <= 256 else Coarse(images)


def coarse_split(split: Split) -> Split:
    """Return the coarse levels of both parts; images of up to 256 levels stay as they are."""
    return replace(split, train=coarse(split.train), test=coarse(split.test))
