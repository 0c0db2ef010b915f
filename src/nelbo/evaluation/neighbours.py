"""Nearest training images of an image by pixel distance: has the model memorised its training images?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.display import Brief
from nelbo.errors import ConfigurationError, ShapeError, option
from nelbo.progress import Progress

GREY = 255


@dataclass(frozen=True)
class Neighbours(Brief):
    """The k nearest images of a set, nearest first.

    Attributes:
        indices: (N, k) int64, into the set.
        distances: (N, k) float64, root of the mean squared difference per pixel and channel on the scale 0..255: the
            Euclidean distance over the root of C * H * W, in the unit of the rate-distortion curve.
    """

    indices: Tensor
    distances: Tensor


def require_neighbours(k: int, dataset: ImageDataset) -> None:
    """Check that a set has `k` images, before the samples to compare them with are drawn.

    Raises:
        ConfigurationError: `k` is below 1 or above the size of the set.
    """
    if not 1 <= k <= len(dataset):
        raise ConfigurationError(f"{option('neighbours')} must be within 1..{len(dataset)}, got {k}.")


def nearest_neighbours(
    images: Tensor,
    dataset: ImageDataset,
    k: int = 3,
    *,
    batch_size: int = 2048,
    progress: Progress | None = None,
) -> Neighbours:
    """Find the `k` images of a set nearest to each of `images`.

    Images at equal distance are in the order of the set, for every batch size.

    Args:
        images: uint8 (N, C, H, W), of the same levels as the set.
        progress: called with (images of the set done, their number).

    Raises:
        ShapeError: the images have another shape than the set's.
        ConfigurationError: `k` is below 1 or above the size of the set.
    """
    if tuple(images.shape[1:]) != dataset.shape:
        raise ShapeError(
            f"the images are {tuple(images.shape[1:])}, but those of {dataset.name} are {dataset.shape}; expected "
            "equal shapes."
        )
    require_neighbours(k, dataset)
    points = images.flatten(1).float()
    best = torch.empty(len(images), 0)
    indices = torch.empty(len(images), 0, dtype=torch.int64)
    for some in torch.arange(len(dataset)).split(batch_size):
        others = dataset.images(some).flatten(1).float()
        # by differences: by a matrix product, equal images would not have a distance of exactly 0
        away = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
        best, order = (found[:, :k] for found in torch.cat([best, away], 1).sort(stable=True))
        indices = torch.cat([indices, some.expand(len(images), -1)], 1).gather(1, order)
        if progress is not None:
            progress(int(some[-1]) + 1, len(dataset))
    unit = GREY / (dataset.levels - 1) / math.sqrt(points.shape[1])
    return Neighbours(indices, best.double() * unit)
