"""Images prepared for a model: read as its training images were, with nothing held out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from nelbo.data.conforming import conformed
from nelbo.data.datasets import ImageDataset, Loaded
from nelbo.data.names import AUTO, CHANNELS, FULL, MEMORY_BUDGET, MODE_OF, Mode, Range, Size
from nelbo.data.scanning import build, scan
from nelbo.data.sources import open_source
from nelbo.display import Brief, counted
from nelbo.errors import option
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
    """

    images: ImageDataset
    names: Sequence[str]
    resized: int = 0
    converted: int = 0

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
    source = open_source(spec, seed=0, range=limits or AUTO)
    if isinstance(source, Loaded):
        return _prepared(source.test or source.train, size, mode if resize else None)
    listing = source.listing
    listing.warn()
    if listing.held_out:
        listing = listing.where([image.path in listing.held_out for image in listing.images])
    found = scan(listing, size if resize else None, None, progress, memory_budget, range=limits or FULL)
    found.warn(", as in training" if limits else "")
    if not resize:
        found = found.without([_misfit(*image, shape) for image in zip(found.sizes, found.coloured, strict=True)])
    dataset = build(found, size if resize else None, mode, memory_budget)
    return Prepared(
        dataset,
        [stored.name for stored in found.files],
        resized=sum(each != size for each in found.sizes),
        converted=sum(found.coloured) if mode == "L" else 0,
    )


def _prepared(dataset: ImageDataset, size: Size, mode: Mode | None) -> Prepared:
    """Return a set in memory at `size` and `mode`; unchanged if `mode` is None or the set cannot be converted."""
    channels, *sides = dataset.shape
    names = [f"{dataset.name}[{i}]" for i in range(len(dataset))]
    if mode is None or channels not in MODE_OF or dataset.levels != 256:
        return Prepared(dataset, names)
    return Prepared(
        conformed(dataset, size, mode, option("resize")),
        names,
        resized=len(dataset) if tuple(sides) != size else 0,
        converted=len(dataset) if channels > CHANNELS[mode] else 0,
    )


def _misfit(size: Size, coloured: bool, shape: tuple[int, int, int]) -> str | None:
    """Return why an image does not fit a model of `shape` (C, H, W), or None if it fits."""
    channels, height, width = shape
    if size != (height, width):
        return f"{size[1]}x{size[0]}, but the model takes {width}x{height} and images are not resized"
    return "in colour, but the model is grey, and images are not converted" if coloured and channels == 1 else None
