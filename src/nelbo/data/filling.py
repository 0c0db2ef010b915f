"""Missing pixels filled in from their neighbours, for codecs whose networks know no mask."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.data.datasets import ImageDataset


def filled(levels: Tensor, observed: Tensor) -> Tensor:
    """Return images with every missing level replaced by the mean of those around it, rounded down, ring by ring.

    A channel without observed pixels stays as it is.

    Args:
        levels: (n, C, H, W) integers.
        observed: bool that broadcasts against them, false for missing pixels.
    """
    known = observed.expand_as(levels).clone().float()
    values = levels * known
    kernel = known.new_ones(levels.shape[1], 1, 3, 3)
    while True:
        around = [F.conv2d(each, kernel, padding=1, groups=levels.shape[1]) for each in (values, known)]
        reached = (known == 0) & (around[1] > 0)
        if not bool(reached.any()):
            return torch.where(known > 0, values, levels.float()).to(levels.dtype)
        values = torch.where(reached, (around[0] / around[1].clamp(min=1)).floor(), values)
        known = torch.where(reached, torch.ones_like(known), known)


class Filled(ImageDataset):
    """A set of images with its missing pixels filled in.

    Args:
        images: the set.
    """

    def __init__(self, images: ImageDataset) -> None:
        self.base = images
        kept = images.labels, images.class_names, images.rejects
        super().__init__(images.name, images.shape, images.levels, *kept)
        self.in_memory = images.in_memory

    def __len__(self) -> int:
        return len(self.base)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the images at `indices`, filled in."""
        levels, observed = self.base.images(indices), self.base.observed(indices)
        return levels if observed is None else filled(levels, observed)

    def subset(self, indices: Tensor) -> "Filled":
        """Return a subset, filled in."""
        return Filled(self.base.subset(indices))
