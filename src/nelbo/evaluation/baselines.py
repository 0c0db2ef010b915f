"""Bits/dim of images without a trained model: what a bound has to stay below to mean anything."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import features
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.evaluation.image_codecs import codec_curve

MOST_FILES, MOST_IMAGES, AT_ONCE = 256, 16_384, 1024
PSEUDO_COUNT = 0.5  # so that no level has mass 0


@dataclass(frozen=True)
class Baselines:
    """Bits/dim of the same images without a trained model.

    Attributes:
        raw: log2 K.
        histogram: with a histogram of each pixel, fitted to training images; None without them.
        png, webp: of lossless files, one per image, headers included; None if the format cannot hold the images.
    """

    raw: float
    histogram: float | None = None
    png: float | None = None
    webp: float | None = None

    def __str__(self) -> str:
        names = {"raw": "raw", "histogram": "a histogram of each pixel", "png": "PNG files", "webp": "WebP files"}
        found = {text: getattr(self, name) for name, text in names.items()}
        return ", ".join(f"{text} {bits:.2f}" for text, bits in found.items() if bits is not None)


def baselines_of(images: ImageDataset, train: ImageDataset | None = None) -> Baselines:
    """Measure the baselines of `images`; at most 256 of them, evenly spread, are encoded as files,
    and the histogram uses at most 16,384. Of images with missing pixels, only the observed ones count, and no files are
    measured.

    Args:
        images: at least one image.
        train: images of the same shape that the histogram is fitted to.
    """
    raw = math.log2(images.levels)
    if images.levels > 256:  # no set has enough images for a histogram of each pixel, and no format here so many levels
        return Baselines(raw)
    histogram = None if train is None or len(train) == 0 else _histogram(train, images)
    if images.shape[0] not in (1, 3) or images.observed([0]) is not None:
        return Baselines(raw, histogram)
    chosen = images.spread(MOST_FILES)
    pixels = chosen.images(range(len(chosen)))
    webp = codec_curve("WEBP", pixels, [None])[0].bits_per_dim if features.check("webp") else None
    return Baselines(raw, histogram, codec_curve("PNG", pixels, [None])[0].bits_per_dim, webp)


def _histogram(train: ImageDataset, images: ImageDataset) -> float:
    """Return the bits/dim of the images under a histogram of each pixel of the training images."""
    train, images = train.spread(MOST_IMAGES), images.spread(MOST_IMAGES)
    positions = torch.arange(math.prod(train.shape))
    counts = torch.zeros(len(positions) * train.levels, dtype=torch.float64)
    for part in _parts(train):
        counts += torch.bincount((part.levels + positions * train.levels)[part.observed], minlength=len(counts))
    masses = counts.view(len(positions), train.levels) + PSEUDO_COUNT
    bits = -(masses / masses.sum(1, keepdim=True)).log2()
    total, number = 0.0, 0
    for part in _parts(images):
        total += float(bits[positions, part.levels][part.observed].sum())
        number += int(part.observed.sum())
    return total / max(number, 1)


@dataclass(frozen=True)
class _Part:
    """Some images: their levels (n, D) int64, and which are observed (n, D) bool."""

    levels: Tensor
    observed: Tensor


def _parts(images: ImageDataset) -> Iterator[_Part]:
    """Yield all images, some at a time."""
    for first in range(0, len(images), AT_ONCE):
        chosen = range(first, min(first + AT_ONCE, len(images)))
        levels, observed = images.images(chosen), images.observed(chosen)
        seen = torch.ones_like(levels, dtype=torch.bool) if observed is None else observed.expand_as(levels)
        yield _Part(levels.flatten(1).long(), seen.flatten(1))
