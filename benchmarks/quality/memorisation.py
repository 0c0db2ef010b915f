"""Nearest training images of samples: does a model repeat its training images?"""

from dataclasses import dataclass

from torch import Tensor

from nelbo.data import ArrayDataset, ImageDataset
from nelbo.evaluation import nearest_neighbours
from nelbo.plots import Picture, neighbours_table
from nelbo.probability import levels_to_data

SHOWN, NEIGHBOURS = 8, 5


@dataclass(frozen=True)
class Nearest:
    """How near samples are to training images; distances are RMSE in grey levels (0..255).

    Attributes:
        num: number of samples.
        samples: mean distance of a sample to its nearest training image.
        held_out: mean distance of as many held-out images to their nearest training images.
        ratio: mean distance of a sample to the nearest of N training images, divided by that to the nearest of N
            held-out images. It is about 1 if the model has learned the distribution, also if its samples are too
            smooth, and smaller if it repeats training images.
        compared: N.
    """

    num: int
    samples: float
    held_out: float
    ratio: float
    compared: int


def nearest(samples: Tensor, train: ImageDataset, held_out: Tensor) -> Nearest:
    """Measure samples, uint8 (N, C, H, W), none of which is among the held-out images, uint8 (M, C, H, W)."""
    compared = min(len(train), len(held_out))
    unseen = ArrayDataset(held_out[:compared], train.levels)
    return Nearest(
        num=len(samples),
        samples=_mean(samples, train),
        held_out=_mean(held_out[: len(samples)], train),
        ratio=_mean(samples, train.spread(compared)) / _mean(samples, unseen),
        compared=compared,
    )


def _mean(images: Tensor, dataset: ImageDataset) -> float:
    return float(nearest_neighbours(images, dataset, 1).distances.mean())


def neighbours_picture(samples: Tensor, train: ImageDataset) -> Picture:
    """Draw the first few samples, each beside its nearest training images."""
    shown = samples[:SHOWN]
    k = min(NEIGHBOURS, len(train))
    found = nearest_neighbours(shown, train, k)
    beside = train.images(found.indices.flatten()).unflatten(0, (len(shown), k))
    rows, nearest_rows = (levels_to_data(images, train.levels) for images in (shown, beside))
    return neighbours_table(rows, nearest_rows, found.distances)
