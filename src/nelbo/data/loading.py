"""From a spec to the images to train on and those held out: open the source, read it, split it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from nelbo.data.datasets import ArrayDataset, ImageDataset, Split
from nelbo.data.decoding import conform
from nelbo.data.held_out import split_off
from nelbo.data.names import AUTO, CHANNELS, FULL, MODE_OF, MODES, ON_REJECT, Mode, Range, Size, read_range, read_size
from nelbo.data.ranges import choice_of_range
from nelbo.data.scanning import build, first, refuse_larger, scan
from nelbo.data.sources import Loaded, open_source
from nelbo.display import Brief
from nelbo.errors import ConfigurationError, DataError, option
from nelbo.progress import Progress
from nelbo.randomness import check_seed

MEMORY_BUDGET = 2**31  # bytes


def load_data(
    spec: str | os.PathLike[str],
    *,
    size: int | Size | str | None = None,
    mode: Mode | None = None,
    held_out: float | None = None,
    on_reject: str = "skip",
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
    memory_budget: int = MEMORY_BUDGET,
    largest: int | None = None,
    range: Range | str = AUTO,
) -> Split:
    """Load the images that `spec` names, split into a training part and a held-out part.

    >>> split = load_data("digits")
    >>> split.train.shape, split.train.levels, len(split.train), len(split.test)
    ((1, 8, 8), 17, 1500, 297)

    Args:
        spec: "digits", "fashion-mnist", "toy:NAME", or a path: a folder of images (classes from its sub-folders), one
            image, an IDX folder, a `.npy` or `.npz` file, a `.tar` shard, a folder of them, or `shards/{000..009}.tar`.
            A built-in name goes before a path of that name; write ./digits for the folder.
        size: side, (H, W) or "WIDTHxHEIGHT" in pixels, to which images are resized and cropped; needed where sizes
            differ.
        mode: "L" or "RGB"; None takes RGB if any image has colour. `nelbo.data.decoding` states the whole policy.
        held_out: fraction or number of images to hold out, None for 5% (1 to 10,000 images). Must be None for sets with
            a held-out part of their own: digits, fashion-mnist, the toy sets and IDX folders with t10k files.
        on_reject: "skip" leaves out files that cannot be decoded and lists them in `.rejects`; "stop" raises.
        workers: threads that scan a folder; None for one per usable processor, 0 to scan in the calling thread.
        seed: chooses the held-out images and draws the toy points.
        progress: True for a progress bar, or a function that is called with (images done, images in all), while files
            are scanned.
        memory_budget: bytes of pixels to keep in memory; a larger set is decoded as it is read (`FolderDataset`).
        largest: longest side in pixels of images that are not resized, or None for any.
        range: the values (low, high) or "LOW,HIGH" that become 0 and 255 in images of more than 8 bits; "full" for
            those of the depth of each file; "auto" for the smallest depth of 8, 10, 12, 14 or 16 bits that holds every
            value of the set. Arrays of another type than uint8: see `nelbo.data.arrays.as_levels`.

    Raises:
        DataError: the data is missing, empty or damaged, has several sizes, or is larger than `largest`.
        ConfigurationError: an invalid argument.

    Warns:
        DataWarning: images had more than 8 bits, and other ways in which the data is read that may not be expected.
    """
    check_seed(seed)
    range = read_range(range)
    side = read_size(size)
    shape = (side, side) if isinstance(side, int) else side
    if not isinstance(spec, str | os.PathLike):
        raise DataError(f"the data is {spec!r}; expected a built-in name or a path.")
    spec = os.fspath(spec)
    if mode is not None and mode not in MODES:
        raise ConfigurationError(f"{option('mode')} is {mode!r}; expected L (grey) or RGB.")
    if on_reject not in ON_REJECT:
        raise ConfigurationError(f"{option('on_reject')} is {on_reject!r}; expected {' or '.join(ON_REJECT)}.")
    if workers is not None and workers < 0:
        raise ConfigurationError(f"{option('workers')} is {workers}; expected 0 or more.")

    largest = largest if shape is None else None
    source = open_source(spec, seed, range)
    limits = None if isinstance(range, str) else range
    if isinstance(source, Loaded):
        train, test = conformed_parts(source, shape, mode, largest)
    else:
        source.listing.warn()
        found = scan(source.listing, shape, workers, progress, memory_budget, largest, range)
        found.warn(choice_of_range())
        limits = found.limits
        if on_reject == "stop" and found.rejects:
            raise DataError(
                f"{spec}: {len(found.rejects)} file(s) cannot be used: {first(found.rejects)}; repair or remove them, "
                f"or leave them out with {option('on_reject', 'skip')}."
            )
        train, test = build(found, shape, mode, memory_budget), None
        if source.listing.held_out:
            held = torch.tensor([stored.path in source.listing.held_out for stored in found.files])
            train, test = train.subset((~held).nonzero().flatten()), train.subset(held.nonzero().flatten())

    if test is None:
        return replace(split_off(train, held_out, seed), limits=limits)
    if held_out is not None:
        raise ConfigurationError(
            f"{option('held_out')} is {held_out}, but {train.name} has its own held-out part of {len(test)} images; "
            f"leave {option('held_out')} out."
        )
    return Split(train, test, limits)


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
        parts = [f"{count} of {len(self.images)} images {what}" for count, what in done if count]
        return ", ".join(parts)


def load_for_model(
    spec: str,
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
        _conformed(dataset, size, mode, option("resize")),
        names,
        resized=len(dataset) if tuple(sides) != size else 0,
        converted=len(dataset) if channels > CHANNELS[mode] else 0,
    )


def conformed_parts(
    source: Loaded, size: Size | None, mode: Mode | None, largest: int | None
) -> tuple[ImageDataset, ImageDataset | None]:
    """Return the parts of a set in memory at the requested size and mode; the second is None if it has one part."""
    refuse_larger(source.train.shape[1:], largest, f"each image of {source.train.name}")
    options = f"{option('size')} and {option('mode')}"
    train = _conformed(source.train, size, mode, options)
    return train, None if source.test is None else _conformed(source.test, size, mode, options)


def _conformed(dataset: ImageDataset, size: Size | None, mode: Mode | None, options: str) -> ImageDataset:
    """Return `dataset` at the size and mode that `options` ask for, or unchanged if it has them already."""
    channels, *sides = dataset.shape
    resized = size is not None and size != tuple(sides)
    if not resized and mode in (None, MODE_OF.get(channels)):
        return dataset
    if channels not in MODE_OF:
        raise DataError(f"{dataset.name} has {channels} values per point and is not an image set; leave out {options}.")
    if dataset.levels != 256 and (resized or channels == CHANNELS["RGB"]):
        raise DataError(
            f"{dataset.name} has {dataset.levels} levels and {sides[0]} x {sides[1]} pixels; resizing or mixing its "
            f"channels would make levels that it does not have; leave out {options}."
        )
    images = conform(dataset.images(range(len(dataset))), size, mode)
    return ArrayDataset(images, dataset.levels, dataset.labels, dataset.name, dataset.class_names, dataset.rejects)


def _misfit(size: Size, coloured: bool, shape: tuple[int, int, int]) -> str | None:
    """Return why an image does not fit a model of `shape` (C, H, W), or None if it fits."""
    channels, height, width = shape
    if size != (height, width):
        return f"{size[1]}x{size[0]}, but the model takes {width}x{height} and images are not resized"
    return "in colour, but the model is grey, and images are not converted" if coloured and channels == 1 else None
