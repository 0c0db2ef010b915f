"""Images prepared for a model: read as its training images were, with nothing held out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.data.array_places import in_place
from nelbo.data.conforming import conformed
from nelbo.data.datasets import ArrayDataset, ImageDataset, Loaded
from nelbo.data.image_names import FileNames, names_of
from nelbo.data.names import AUTO, CHANNELS, FULL, MEMORY_BUDGET, MODE_OF, Mode, Range, Size, spec_of
from nelbo.data.pictures import Picture
from nelbo.data.ranges import DeepImages
from nelbo.data.scanning import build, scan, warn_of_losses
from nelbo.data.sources import open_source
from nelbo.display import Brief, counted
from nelbo.errors import DataError, option
from nelbo.options import check_whole
from nelbo.progress import Progress


@dataclass(frozen=True)
class Prepared(Brief):
    """Images prepared for a model.

    Attributes:
        images: the set.
        names: the name of each image.
        resized: number of images that were resized and cropped.
        converted: number of coloured images that were converted to grey.
        missing: bool (N, C or 1, H, W), true for missing pixels of an array with NaN; None for none.
    """

    images: ImageDataset
    names: Sequence[str]
    resized: int = 0
    converted: int = 0
    missing: Tensor | None = None

    @property
    def note(self) -> str:
        """What was done to the images, in words; "" if nothing."""
        _, height, width = self.images.shape
        done = (
            (self.resized, f"resized to {width}x{height} (shorter side fitted, centre cut out)"),
            (self.converted, "converted to grey"),
        )
        parts = [f"{count:,} of {counted(len(self.images), 'image')} {what}" for count, what in done if count]
        return ", ".join(parts)


def load_for_model(
    spec: str | os.PathLike[str],
    shape: tuple[int, int, int],
    *,
    resize: bool = True,
    progress: Progress | bool | None = None,
    memory_budget: int = MEMORY_BUDGET,
    limits: Range | None = None,
) -> Prepared:
    """Load every image that `spec` names for a model, resized and converted as for training.

    Nothing is held out; of a set with a held-out part, that part is loaded. Grey images fit a colour model. Images of
    other than 256 levels stay as they are, and the model accepts or refuses them.

    Args:
        shape: (C, H, W) of the model's images.
        resize: resize, crop and convert the images to `shape`. Otherwise, in a folder or shard, an image of another
            size, or a coloured one for a grey model, becomes a reject, like a file that cannot be decoded.
        progress: see `load_data`.
        memory_budget: see `load_data`.
        limits: the values that become 0 and 255 in images of more than 8 bits, those of the model's training images
            (`Split.limits`); None for those of the depth of each file.

    Raises:
        DataError: no image is left.
    """
    check_whole("memory_budget", memory_budget, 0)
    size, mode = (shape[1], shape[2]), MODE_OF.get(shape[0])
    spec = spec_of(spec)
    source = in_place(spec, limits or AUTO, memory_budget) or open_source(spec, seed=0, range=limits or AUTO)
    if isinstance(source, Loaded):
        prepared = _prepared(source.test or source.train, size, mode if resize else None)
        return replace(prepared, missing=source.missing)
    listing = source.listing
    listing.warn()
    if listing.held_out:
        listing = listing.where([image.path in listing.held_out for image in listing.images])
    found = scan(listing, size if resize else None, None, progress, memory_budget, range=limits or FULL)
    found.warn(_how(limits))
    if not resize:
        found = found.without([_misfit(*image, shape) for image in zip(found.sizes, found.coloured, strict=True)])
    dataset = build(found, size if resize else None, mode, memory_budget)
    return Prepared(
        dataset,
        FileNames(found.files),
        resized=sum(each != size for each in found.sizes),
        converted=sum(found.coloured) if mode == "L" else 0,
    )


def fitted(pixels: Tensor, levels: int, shape: tuple[int, int, int]) -> Prepared:
    """Return images in memory, uint8 (N, C, H, W) of K levels, at a model's shape; those of this shape as they are."""
    dataset = ArrayDataset(pixels, levels)
    if dataset.shape == shape:
        return Prepared(dataset, ())
    return _prepared(dataset, (shape[1], shape[2]), MODE_OF.get(shape[0]))


def _prepared(dataset: ImageDataset, size: Size, mode: Mode | None) -> Prepared:
    """Return a set in memory at `size` and `mode`; unchanged if `mode` is None or the set cannot be converted."""
    channels, *sides = dataset.shape
    names = names_of(dataset)
    if mode is None or channels not in MODE_OF or dataset.levels != 256:
        return Prepared(dataset, names)
    return Prepared(
        conformed(dataset, size, mode, option("resize")),
        names,
        resized=len(dataset) if tuple(sides) != size else 0,
        converted=len(dataset) if channels > CHANNELS[mode] else 0,
    )


def joined(parts: Sequence[Prepared]) -> Prepared:
    """Return images that were prepared one by one as one set, without their names.

    Raises:
        DataError: they have several shapes or numbers of levels, because some could not be converted.
    """
    kinds = {(*part.images.shape, part.images.levels) for part in parts}
    if len(kinds) > 1:
        listed = ", ".join(f"{c} x {h} x {w} with {levels} levels" for c, h, w, levels in sorted(kinds))
        raise DataError(f"the images are of {len(kinds)} kinds (C x H x W): {listed}; give them one shape and type.")
    pixels = torch.cat([part.images.images(range(len(part.images))) for part in parts])
    return Prepared(
        ArrayDataset(pixels, parts[0].images.levels),
        (),
        resized=sum(part.resized for part in parts),
        converted=sum(part.converted for part in parts),
    )


def deep_among(pictures: Sequence[Picture]) -> DeepImages:
    """Return the record of the images of more than 8 bits among pictures."""
    deep = DeepImages()
    for picture in pictures:
        deep = deep.including(picture.values, picture.bits)
    return deep


def warn_of_pictures(what: str, pictures: Sequence[Picture], range: Range | str, how: str) -> None:
    """Issue a `DataWarning` for what pictures given one by one lack, as `Scan.warn` does for those of a folder."""
    warn_of_losses(what, deep_among(pictures), sum(picture.frames > 1 for picture in pictures), range, how)


def warn_for_model(what: str, pictures: Sequence[Picture], limits: Range | None = None) -> None:
    """Issue the warnings of `warn_of_pictures` for a model, whose training images were read by `limits`."""
    warn_of_pictures(what, pictures, limits or FULL, _how(limits))


def _how(limits: Range | None) -> str:
    return ", as in training" if limits else ""


def _misfit(size: Size, coloured: bool, shape: tuple[int, int, int]) -> str | None:
    """Return why an image does not fit a model of `shape` (C, H, W), or None if it fits."""
    channels, height, width = shape
    if size != (height, width):
        return f"{size[1]}x{size[0]}, but the model takes {width}x{height} and images are not resized"
    return "in colour, but the model is grey, and images are not converted" if coloured and channels == 1 else None
