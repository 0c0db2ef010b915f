"""Images that the caller has in memory, as a set to train on: arrays, tensors, lists of images of any kind."""

import hashlib
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nelbo.data.arrays import as_images, limits_of
from nelbo.data.datasets import ArrayDataset, ImageDataset, Loaded, Split
from nelbo.data.decoding import conform
from nelbo.data.folder_dataset import FolderDataset
from nelbo.data.folders import DataWarning
from nelbo.data.inputs import EXPECTED, Images, Single, as_array, as_picture, levels_of, pixels_of_array
from nelbo.data.names import AUTO, FULL, MODE_OF, Mode, Range, Size
from nelbo.data.pictures import Picture
from nelbo.data.ranges import DeepImages, choice_of_range
from nelbo.errors import DataError, option, shown, warn

HASHED = 1024  # images of a set that is not in memory, from which its fingerprint is computed
CHUNK = 256  # images read at once


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
        dataset = ArrayDataset(as_images(pixels.numpy(), "the array"), levels)
        return Loaded("memory", dataset, limits=limits_of(as_array(images), range))
    given = [images] if isinstance(images, Image.Image) else images
    if not isinstance(given, list | tuple) or not given:
        raise DataError(
            f"the data is {shown(given)}; {EXPECTED}, a list of these that is not empty, or a data set; or a built-in "
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
