"""Images that the caller has in memory, as a set to train on: arrays, tensors, lists of images of any kind."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nelbo.condition import Condition
from nelbo.data.arrays import are_values, as_images, limits_of, require_one_scale
from nelbo.data.datasets import ArrayDataset, ImageDataset, Loaded, Split
from nelbo.data.decoding import conform
from nelbo.data.folder_dataset import FolderDataset
from nelbo.data.inputs import EXPECTED, Images, Single, as_array, as_pictures, levels_of, pixels_of_array
from nelbo.data.names import AUTO, FULL, MODE_OF, Mode, Range, Size
from nelbo.data.pictures import Picture
from nelbo.data.preparing import deep_among, warn_of_pictures
from nelbo.data.ranges import choice_of_range
from nelbo.errors import DataError, option, shown

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
        array = as_array(images)
        return Loaded("memory", dataset, limits=limits_of(array, range), are_values=are_values(array, range))
    given = [images] if isinstance(images, Image.Image) else images
    if not isinstance(given, list | tuple) or not given:
        raise DataError(
            f"the data is {shown(given)}; {EXPECTED}, a list of these that is not empty, or a data set; or a built-in "
            "name."
        )
    return _stacked(cast(Sequence[Single], given), size, mode, range)


def _stacked(images: Sequence[Single], size: Size | None, mode: Mode | None, range: Range | str) -> Loaded:
    """Return the images of a list as a set in memory."""
    arrays = [as_array(image) for image in images if isinstance(image, np.ndarray | Tensor)]
    if isinstance(range, str):
        require_one_scale(arrays)
    deepest = [array for array in arrays if array.dtype == np.uint16]
    together = next((limits for array in deepest if (limits := limits_of(array, range)) is not None), None)
    entries = [_entry(image, range if together is None or not _is_uint16(image) else together) for image in images]
    pictures = [picture for entry in entries for picture in entry.pictures]
    deep = deep_among(pictures)
    warn_of_pictures("the list", pictures, range, choice_of_range())
    if range == AUTO and (found := deep.limits(AUTO)) is not None:
        mapped = [_mapped(image, entry, found) for image, entry in zip(images, entries, strict=True)]
        pictures = [picture for each in mapped for picture in each]
    pixels, levels = [picture.pixels for picture in pictures], {entry.levels for entry in entries}
    if len(levels) > 1:
        raise DataError(
            f"the images have {' and '.join(map(str, sorted(levels)))} levels; give all of them as one type, such as "
            "255 * x.astype('uint8') for bool."
        )
    sizes = {tuple(image.shape[1:]) for image in pixels}
    if size is None and len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:4])
        raise DataError(
            f"the images have {len(sizes)} sizes ({listed}{', ...' if len(sizes) > 4 else ''}); set {option('size')} "
            "to resize and crop them, for example to 64."
        )
    mode = mode or MODE_OF[max(map(len, pixels))]
    stacked = torch.cat([conform(image[None], size, mode) for image in pixels])
    dataset, plain = ArrayDataset(stacked, levels.pop()), any(are_values(array, range) for array in arrays)
    return Loaded("memory", dataset, limits=deep.limits(range) or together, are_values=plain and together is None)


def _is_uint16(image: Single) -> bool:
    return isinstance(image, np.ndarray | Tensor) and as_array(image).dtype == np.uint16


@dataclass(frozen=True)
class _Entry:
    """An entry of a list: one image, or the pages of a TIFF file that Pillow has opened, and its number of levels."""

    pictures: list[Picture]
    levels: int = 256


def _entry(image: Single, range: Range | str) -> _Entry:
    """Read an entry of a list; without a range (low, high), a file has that of its depth."""
    if isinstance(image, np.ndarray | Tensor):
        pixels, levels = pixels_of_array(image, range)
        return _Entry([Picture("the image", pixels)], levels)
    return _Entry(as_pictures(image, None if isinstance(range, str) else range))


def _mapped(image: Single, entry: _Entry, limits: Range) -> list[Picture]:
    """Return the pictures of an entry; if one has more than 8 bits, they are read once more, now by a range.

    Raises:
        DataError: only the upper 8 bits of its values are in memory.
    """
    if all(picture.values is None for picture in entry.pictures):
        return entry.pictures
    again = as_pictures(image, limits)
    for before, after in zip(entry.pictures, again, strict=True):
        if after.values is None and before.values is not None:  # Pillow forgets the 16 bits of colours once loaded
            raise DataError(
                "an image of the list has 16 bits per colour, of which Pillow gives only the upper 8; give the path of "
                f"its file, or {option('range', FULL)}."
            )
    return again


def fingerprint(split: Split) -> str:
    """Return 32 hexadecimal digits that tell the images and labels of a split from others.

    Of a set that is not in memory, the number of images and up to 1,024 images, evenly spread, are read.
    """
    digest = hashlib.sha256()
    for part in (split.train, split.test):
        _hash_images(digest, part)
    return digest.hexdigest()[:32]


def digest_of(images: ImageDataset, names: Iterable[str] = ()) -> str:
    """Return 32 hexadecimal digits that tell a set and the names of its images from others, as `fingerprint` does."""
    digest = hashlib.sha256()
    _hash_images(digest, images)
    for name in names:
        digest.update(f"{name}\0".encode())
    return digest.hexdigest()[:32]


def _hash_images(digest: "hashlib._Hash", part: ImageDataset) -> None:
    """Add a set to a hash: its kind, its labels, and its images or, of one that is not in memory, some of them."""
    digest.update(f"{len(part)} {part.shape} {part.levels} {part.class_names}".encode())
    if part.labels is not None:
        digest.update(part.labels.numpy().tobytes())
    some = part if part.in_memory else part.spread(HASHED)
    for chosen in torch.arange(len(some)).split(CHUNK):
        digest.update(some.images(chosen).contiguous().numpy().tobytes())
        hash_beside(digest, some, chosen)


def hash_beside(digest: "hashlib._Hash", images: ImageDataset, chosen: Tensor) -> None:
    """Add what lies beside the images at `chosen` to a hash: masks, numbers and paired images, if there are any."""
    for name, part in Condition.of(images.condition(chosen)).parts.items():
        if name != "label":
            digest.update(f"{name} {part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.contiguous().numpy().tobytes())
