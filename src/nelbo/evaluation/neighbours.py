"""Does the model remember? The training images that lie nearest to an image, pixel by pixel."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.errors import ConfigurationError, ShapeError

GREY = 255


@dataclass(frozen=True)
class Neighbours:
    """The k nearest images of a set, nearest first.

    Attributes:
        indices: (N, k) int64, into the set.
        distances: (N, k) float64, root of the mean squared difference of a pixel on the 0..255 scale: the Euclidean
            distance over the root of C * H * W, in the unit of the rate-distortion curve.
    """

    indices: Tensor
    distances: Tensor


def require_neighbours(k: int, dataset: ImageDataset) -> None:
    """Check that a set has `k` images, before those are drawn that they are to be compared with.

    Raises:
        ConfigurationError: k below 1 or above the size of the set.
    """
    if not 1 <= k <= len(dataset):
        raise ConfigurationError(f"--neighbours must be within 1..{len(dataset)}, got {k}.")


def nearest_neighbours(
    images: Tensor,
    dataset: ImageDataset,
    k: int = 3,
    *,
    batch_size: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """The `k` images of a set nearest to each of `images` (uint8, N x C x H x W, of the set's levels).

    Of images at one distance the earlier comes first, whatever the batch size is.

    Raises:
        ShapeError: images of another shape than the set's.
        ConfigurationError: k below 1 or above the size of the set.
    """
    if tuple(images.shape[1:]) != dataset.shape:
        raise ShapeError(f"the images are {tuple(images.shape[1:])} and those of {dataset.name} {dataset.shape}.")
    require_neighbours(k, dataset)
    points = images.flatten(1).float()
    best = torch.empty(len(images), 0)
    indices = torch.empty(len(images), 0, dtype=torch.int64)
    for some in torch.arange(len(dataset)).split(batch_size):
        others = dataset.images(some).flatten(1).float()
        # differences first: by way of a product of matrices equal images would not be at distance 0
        away = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
        best, order = (found[:, :k] for found in torch.cat([best, away], 1).sort(stable=True))
        indices = torch.cat([indices, some.expand(len(images), -1)], 1).gather(1, order)
        if progress is not None:
            progress(int(some[-1]) + 1, len(dataset))
    unit = GREY / (dataset.levels - 1) / math.sqrt(points.shape[1])
    return Neighbours(indices, best.double() * unit)
