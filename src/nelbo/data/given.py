"""Images that the caller has in memory, as a set to train on: arrays, tensors, lists of images of any kind."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nelbo.data.arrays import as_images
from nelbo.data.datasets import ArrayDataset, ImageDataset, Split
from nelbo.data.decoding import conform
from nelbo.data.folder_dataset import FolderDataset
from nelbo.data.folders import DataWarning
from nelbo.data.held_out import split_off
from nelbo.data.inputs import EXPECTED, Images, Single, as_picture, levels_of, pixels_of_array, short
from nelbo.data.loading import conformed_parts
from nelbo.data.names import AUTO, FULL, MODE_OF, MODES, Mode, Range, Size, read_range
from nelbo.data.pictures import Picture
from nelbo.data.ranges import DeepImages, choice_of_range
from nelbo.data.sources import Loaded
from nelbo.errors import ConfigurationError, DataError, option, warn

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
    range: Range | str = AUTO,
) -> Split:
    """Split images in memory into a training part and a held-out part.

    Args:
        images: what `collect` takes, or a `Split`, which is used as it is.
        size, mode, held_out, seed, largest: see `nelbo.data.load_data`.
        range: see `nelbo.data.load_data`. A data set and a `Split` hold levels already, which stay as they are; their
            range is the one by which they were made.

    Raises:
        DataError: images that cannot be used, of several sizes, or larger than `largest`.
        ConfigurationError: an invalid argument, or `held_out` or another range for a `Split`.

    Warns:
        DataWarning: images had more than 8 bits, or an array was converted.
    """
    range = read_range(range)
    shape = (size, size) if isinstance(size, int) else size
    if mode is not None and mode not in MODES:
        raise ConfigurationError(f"{option('mode')} is {mode!r}; expected L (grey) or RGB.")
    source = collect(images, shape, mode, range)
    train, test = conformed_parts(source, shape, mode, None if shape else largest)
    limits = _range_of(source, range)
    if test is None:
        return replace(split_off(train, held_out, seed), limits=limits)
    if held_out is not None:
        raise ConfigurationError(f"{option('held_out')} is {held_out}, but the data is split already; leave it out.")
    return Split(train, test, limits)


def _range_of(source: Loaded, range: Range | str) -> Range | None:
    """Return the range by which images were read; if that is not known, the range that is given.

    Raises:
        ConfigurationError: they differ.
    """
    found = source.limits
    if isinstance(range, str) or found in (None, range):
        return found if isinstance(range, str) else range
    given, read = (f"{low:.12g},{high:.12g}" for low, high in (range, found))
    raise ConfigurationError(
        f"{option('range')} is {given}, but the images were read by {read}; leave it out, or read them again."
    )


def collect(images: Images | Split, size: Size | None, mode: Mode | None, range: Range | str = AUTO) -> Loaded:
    """Return images of any of these kinds as one set, or as the two parts of a `Split`.

    Args:
        images: an array or tensor of images, a list of images (paths, Pillow images, arrays, tensors), a data set or a
            `Split`.
        size: (H, W) to which the images of a list are resized and cropped; needed where their sizes differ.
        mode: "L" or "RGB"; None takes RGB if any image of a list has colour.
        range: "auto", "full" or the values that become 0 and 255; see `nelbo.data.load_data`.

    Raises:
        DataError: something else, images that cannot be used, or of several sizes without a `size`.
    """
    if isinstance(images, Split):
        return Loaded("memory", images.train, images.test, images.limits)
    if isinstance(images, ImageDataset):
        return Loaded("memory", images, limits=images.limits if isinstance(images, FolderDataset) else None)
    if isinstance(images, np.ndarray | Tensor):
        pixels, levels = levels_of(images, 256, range)
        return Loaded("memory", ArrayDataset(as_images(pixels.numpy(), "the array"), levels))
    given = [images] if isinstance(images, Image.Image) else images
    if not isinstance(given, list | tuple) or not given:
        raise DataError(
            f"the data is {short(given)}; {EXPECTED}, a list of these that is not empty, or a data set; or a built-in "
            "name."
        )
    return _stacked(cast(Sequence[Single], given), size, mode, range)


def _stacked(images: Sequence[Single], size: Size | None, mode: Mode | None, range: Range | str) -> Loaded:
    """Return the images of a list as a set in memory."""
    pictures, deep = [_picture(image, range) for image in images], DeepImages()
    for picture in pictures:
        deep = deep.including(picture.values, picture.bits)
    if range == AUTO and (found := deep.limits(AUTO)) is not None:
        pairs = zip(images, pictures, strict=True)
        pictures = [picture if picture.values is None else _mapped(image, found) for image, picture in pairs]
    if note := deep.note("the list", range):
        warn(f"{note}{choice_of_range()}.", DataWarning)
    pixels = [picture.pixels for picture in pictures]
    levels = {levels_of(image, 256, range)[1] if isinstance(image, np.ndarray | Tensor) else 256 for image in images}
    sizes = {tuple(image.shape[1:]) for image in pixels}
    if size is None and len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:4])
        raise DataError(
            f"the images have {len(sizes)} sizes ({listed}{', ...' if len(sizes) > 4 else ''}); set {option('size')} "
            "to resize and crop them, for example to 64."
        )
    mode = mode or MODE_OF[max(map(len, pixels))]
    stacked = torch.cat([conform(image[None], size, mode) for image in pixels])
    return Loaded("memory", ArrayDataset(stacked, max(levels)), limits=deep.limits(range))


def _picture(image: Single, range: Range | str) -> Picture:
    """Return one image of a list; without a range (low, high), a file has that of its depth."""
    if isinstance(image, np.ndarray | Tensor):
        return Picture("the image", pixels_of_array(image, range=range))
    return as_picture(image, limits=None if isinstance(range, str) else range)


def _mapped(image: Single, limits: Range) -> Picture:
    """Read an image of more than 8 bits once more, now by a range.

    Raises:
        DataError: only the upper 8 bits of its values are in memory.
    """
    picture = as_picture(image, limits=limits)
    if picture.values is None:  # Pillow forgets that colours had 16 bits once it has loaded them
        raise DataError(
            "an image of the list has 16 bits per colour, of which Pillow gives only the upper 8; give the path of its "
            f"file, or {option('range', FULL)}."
        )
    return picture


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
