"""Images that the caller has in memory, as a set to train on: arrays, tensors, lists of images of any kind."""

import hashlib
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nelbo.data.arrays import as_images
from nelbo.data.datasets import ArrayDataset, ImageDataset, Split
from nelbo.data.decoding import conform
from nelbo.data.held_out import split_off
from nelbo.data.inputs import EXPECTED, Images, Single, as_picture, levels_of, short
from nelbo.data.loading import conformed_parts
from nelbo.data.names import MODE_OF, MODES, Mode, Size
from nelbo.data.sources import Loaded
from nelbo.errors import ConfigurationError, DataError, option

HASHED = 1024  # images of a set that is not in memory, from which its fingerprint is computed
CHUNK = 256  # images read at once


def split_given(
    images: Images | Split,
    *,
    size: int | Size | None = None,
    mode: Mode | None = None,
    held_out: float | None = None,
    seed: int = 0,
    largest: int | None = None,
) -> Split:
    """Split images in memory into a training part and a held-out part.

    Args:
        images: what `collect` takes, or a `Split`, which is used as it is.
        size, mode, held_out, seed, largest: see `nelbo.data.load_data`.

    Raises:
        DataError: images that cannot be used, of several sizes, or larger than `largest`.
        ConfigurationError: an invalid argument, or `held_out` for a `Split`.
    """
    shape = (size, size) if isinstance(size, int) else size
    if mode is not None and mode not in MODES:
        raise ConfigurationError(f"{option('mode')} is {mode!r}; expected L (grey) or RGB.")
    whole, test = (images.train, images.test) if isinstance(images, Split) else (collect(images, shape, mode), None)
    train, test = conformed_parts(Loaded("memory", whole, test), shape, mode, None if shape else largest)
    if test is None:
        return split_off(train, held_out, seed)
    if held_out is not None:
        raise ConfigurationError(f"{option('held_out')} is {held_out}, but the data is split already; leave it out.")
    return Split(train, test)


def collect(images: Images, size: Size | None, mode: Mode | None) -> ImageDataset:
    """Return images of any of these kinds as one set.

    Args:
        images: an array or tensor of images, a list of images (paths, Pillow images, arrays, tensors), or a data set.
        size: (H, W) to which the images of a list are resized and cropped; needed where their sizes differ.
        mode: "L" or "RGB"; None takes RGB if any image of a list has colour.

    Raises:
        DataError: something else, images that cannot be used, or of several sizes without a `size`.
    """
    if isinstance(images, ImageDataset):
        return images
    if isinstance(images, np.ndarray | Tensor):
        pixels, levels = levels_of(images, 256)
        return ArrayDataset(as_images(pixels.numpy(), "the array"), levels)
    given = [images] if isinstance(images, Image.Image) else images
    if not isinstance(given, list | tuple) or not given:
        raise DataError(
            f"the data is {short(given)}; {EXPECTED}, a list of these that is not empty, or a data set; or a built-in "
            "name."
        )
    return _stacked(cast(Sequence[Single], given), size, mode)


def _stacked(images: Sequence[Single], size: Size | None, mode: Mode | None) -> ImageDataset:
    """Return the images of a list as a set in memory."""
    pixels = [as_picture(image).pixels for image in images]
    levels = {levels_of(image, 256)[1] if isinstance(image, np.ndarray | Tensor) else 256 for image in images}
    sizes = {tuple(image.shape[1:]) for image in pixels}
    if size is None and len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:4])
        raise DataError(
            f"the images have {len(sizes)} sizes ({listed}{', ...' if len(sizes) > 4 else ''}); set {option('size')} "
            "to resize and crop them, for example to 64."
        )
    mode = mode or MODE_OF[max(map(len, pixels))]
    return ArrayDataset(torch.cat([conform(image[None], size, mode) for image in pixels]), max(levels))


def fingerprint(split: Split) -> str:
    """Return 32 hexadecimal digits that tell the images and labels of a split from others.

    Of a set that is not in memory, the number of images and up to 1,024 images, evenly spread, are read.
    """
    digest = hashlib.sha256()
    for part in (split.train, split.test):
        digest.update(f"{len(part)} {part.shape} {part.levels} {part.class_names}".encode())
        if part.labels is not None:
            digest.update(part.labels.numpy().tobytes())
        some = part if part.in_memory else part.spread(HASHED)
        for chosen in torch.arange(len(some)).split(CHUNK):
            digest.update(some.images(chosen).contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
